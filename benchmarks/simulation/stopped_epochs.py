"""Count the epochs that a search trains under ASHA or the median pruner, in replays on recorded learning curves."""

import dataclasses
import random
import statistics
from collections.abc import Sequence

import optuna

from benchmarks.simulation.curves import Curve, Table
from benchmarks.simulation.replay import STOPPING, Policy, replay
from tuning.scheduling.asha import Asha

REPLAYS = 50


def asha_epochs(table: Table, trials: int, epochs: int, rule: Asha) -> float:
    """Return the median epochs of replays with random trials, two at a time, under Ray's ASHA.

    Args:
        table: Curves of at least `epochs` epochs, the baseline first.
        trials: Number of trials of a search.
        epochs: Number of epochs of a trial that is not stopped.
        rule: Grace and reduction.
    """
    cut = dataclasses.replace(table, epochs=epochs)
    policy = Policy(rule=rule, order=STOPPING, trials=trials)
    return statistics.median(sum(replay(cut, policy, seed).epochs_by_trial) for seed in range(REPLAYS))


def median_epochs(table: Table, trials: int, epochs: int) -> float:
    """Return the median epochs of replays, one trial at a time, under Optuna's MedianPruner."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    first, *others = table.curves
    drawn = [[first, *random.Random(seed).sample(others, trials - 1)] for seed in range(REPLAYS)]
    return statistics.median(under_median_pruner(curves, epochs) for curves in drawn)


def under_median_pruner(curves: Sequence[Curve], epochs: int) -> int:
    """Return the epochs trained when trials with these curves run one after another."""
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner())
    trained = 0
    for curve in curves:
        trial, pruned = study.ask(), False
        for epoch in curve.epochs[:epochs]:
            trained += 1
            trial.report(epoch.val_accuracy, epoch.epoch)
            pruned = trial.should_prune()
            if pruned:
                break
        study.tell(trial, state=optuna.trial.TrialState.PRUNED) if pruned else study.tell(trial, epoch.val_accuracy)
    return trained


def fewest_asha(trials: int, epochs: int, rule: Asha) -> int:
    """Return ASHA's minimum: the first trial is trained to its end, all others to the first rung."""
    return epochs + (trials - 1) * rule.first_rung(epochs)


def fewest_median(trials: int, epochs: int) -> int:
    """Return MedianPruner's minimum: five start-up trials to their end, one epoch of all others."""
    startup = min(trials, 5)
    return startup * epochs + trials - startup
