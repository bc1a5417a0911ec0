"""Count the epochs of a search that ASHA or the median pruner stops.

Searches are replayed on recorded learning curves.
"""

import dataclasses
import random
import statistics
from collections.abc import Sequence

import optuna

from benchmarks.simulation import Curve, Policy, Simulation, Table
from tuning.scheduling.successive_halving import SuccessiveHalving
from benchmarks.simulation.replay import Curve, Policy, Simulation, Table

REPLAYS = 50


def asha_epochs(table: Table, trials: int, epochs: int, rule: SuccessiveHalving) -> float:
    """The median over replays with trials drawn at random, two at a time, under Ray's ASHA.

    Args:
        table: of curves at least `epochs` long, the notebook's first.
        trials: of a search.
        epochs: of a trial that is not stopped.
        rule: its grace and reduction.
    """
    cut = dataclasses.replace(table, epochs=epochs)
    policy = Policy(stopping=rule, ordered=False, trials=trials, workers=2)
    return statistics.median(sum(Simulation(cut, policy, seed).run().epochs_by_trial) for seed in range(REPLAYS))


def median_epochs(table: Table, trials: int, epochs: int) -> float:
    """As `asha_epochs`, one trial at a time under Optuna's own MedianPruner."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    first, *others = table.curves
    drawn = [[first, *random.Random(seed).sample(others, trials - 1)] for seed in range(REPLAYS)]
    return statistics.median(under_median_pruner(curves, epochs) for curves in drawn)


def under_median_pruner(curves: Sequence[Curve], epochs: int) -> int:
    """Epochs trained when trials with these curves run one after another."""
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


def fewest_asha(trials: int, epochs: int, rule: SuccessiveHalving) -> int:
    """The fewest that ASHA can train: the first trial goes to its end, all others to the first rung alone."""
    return epochs + (trials - 1) * rule.grace


def fewest_median(trials: int, epochs: int) -> int:
    """The fewest that MedianPruner can train: its five start-up trials go to their end, all others have one epoch."""
    startup = min(trials, 5)
    return startup * epochs + trials - startup
