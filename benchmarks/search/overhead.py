"""How much time does a search take apart from training?

    python -m benchmarks.search.overhead            100 trials of 5 epochs, `best` on 5,000 trials: some five minutes
    python -m benchmarks.search.overhead --quick    12 trials, and 500: shows that it works, not what holds

Trials report epochs without training, in sentune, in plain Ray Tune and in plain Optuna, each in its own process.
Seconds per trial are measured from the end of the first trial to the end of the last one; start-up has its own column.
The methods take turns, and medians of three runs count. Ray Tune that starts a process per trial runs 20 trials.
Space (seven dimensions) and sampler (multivariate TPE) are equal. The script then measures `best` on 5,000 trials. The
last lines check the claims. benchmarks.search.growth measures suggestions.
"""

import argparse
import dataclasses
import json
import logging
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import new_parser, run_step, table_head, verdict
from core.log_odds import round_log_odds
from core.training.result import EpochResult
from tuning.journal.predictions import pack_labels
from tuning.journal.probabilities import pack_log_odds
from tuning.scheduling.study_config import StudyConfig
from tuning.space.load import load_space
from tuning.space.space import Space

EPOCHS = 5
JOB_EPOCHS = 3
"""Epochs of a job in `with_open_trials`; in a search with the default rule, a job has about 2.5."""
WORKERS = 2
RUNS = 3
SECONDS_A_TRIAL, BEST_SECONDS = 0.2, 2.0


def main() -> None:
    arguments = parse()
    if arguments.step:
        found = STEPS[arguments.step](arguments.trials, Path(arguments.folder))
        print(json.dumps(found))
        return
    trials, many = (12, 500) if arguments.quick else (100, 5000)
    print(f"{trials} trials of {EPOCHS} epochs that train nothing, {WORKERS} workers")
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    for _ in range(1 if arguments.quick else RUNS):
        for name, measured in runs.items():
            measured.append(run(name, trials // 5 if name == "ray" else trials))
            print(f"{name}: {measured[-1]}", file=sys.stderr, flush=True)  # kept if the run is interrupted
    print("\n".join(table_head(("method", "start-up, s", "s per trial"))))
    for name, title in WAYS.items():
        print(f"| {title} | {middle(runs[name], 'startup'):.2f} | {middle(runs[name], 'a_trial'):.4f} |")
    best = best_seconds(many)
    print(f"\nbest on {many:,} trials: {best:.2f} s\n")
    claims = {
        "seconds per trial": (middle(runs["sentune"], "a_trial"), SECONDS_A_TRIAL),
        "seconds of best": (best, BEST_SECONDS),
    }
    for what, (value, limit) in claims.items():
        end = verdict(value <= limit, conclusive=not arguments.quick)
        print(f"{what}: {value:.3g}, at most {limit:g} claimed: {end}")


def middle(found: Sequence[Mapping[str, float]], name: str) -> float:
    """Return the median of a figure."""
    return statistics.median(each[name] for each in found)


def run(step: str, trials: int) -> dict[str, Any]:
    """Run a step in a fresh process and a fresh folder."""
    with tempfile.TemporaryDirectory(prefix="sentune-overhead-") as folder:
        return run_step("benchmarks.search.overhead", "--step", step, "--trials", str(trials), "--folder", folder)


class Clock:
    """Measure the start-up, and the seconds per trial after it."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self.now = now
        self.began = now()
        self.ends: list[float] = []

    def end(self) -> None:
        """Record the end of a trial."""
        self.ends.append(self.now())

    def figures(self) -> dict[str, float]:
        first, last = self.ends[0], self.ends[-1]
        return {"startup": first - self.began, "a_trial": (last - first) / (len(self.ends) - 1)}


def sentune(trials: int, folder: Path) -> dict[str, float]:
    """Run sentune's search with its journal and order."""
    from tuning.scheduling.schedule import Callback

    clock = Clock()

    class Ends(Callback):
        def on_trial_end(self, record: Any) -> None:
            clock.end()

    search_without_training(plan(trials), Ends(), folder)
    return clock.figures()


def with_open_trials(trials: int, folder: Path) -> dict[str, float]:
    """Measure the driver's processor time per first job of a trial, while about `trials` others are open.

    A job has JOB_EPOCHS reports. Two workers do not keep the driver busy, so elapsed time would be too much.
    """
    from tuning.scheduling.asha import Asha
    from tuning.scheduling.schedule import Callback

    clock, new = Clock(time.process_time), max(10, trials // 4)

    class Starts(Callback):
        def on_trial_start(self, number: int, config: Any) -> None:
            if number == trials + len(clock.ends):
                clock.end()

    rule = Asha(grace=JOB_EPOCHS)
    the_plan = dataclasses.replace(plan(trials + new), space=load_space("default"), parallelism=trials, stopping=rule)
    search_without_training(the_plan, Starts(), folder)
    return clock.figures()


def search_without_training(the_plan: StudyConfig, callbacks: Any, folder: Path) -> None:
    """Run a search on WORKERS workers through Ray, with its journal."""
    from benchmarks.inputs.corpora import tiny_corpus
    from tuning.backend.background_ray import BackgroundRay
    from tuning.backend.interrupt import InterruptHandler
    from tuning.backend.tuner import RayBackend, run_schedule
    from tuning.journal.writer import open_study
    from tuning.resources.machine import Machine, TrialResources
    from tuning.scheduling.schedule import Schedule

    interrupt = InterruptHandler(say=print)
    session = BackgroundRay(Machine(cpus=WORKERS, gpus=0), interrupt.on_ray_lost).session
    backend = RayBackend(session=session, resources=TrialResources(), workers=WORKERS, train=nothing)
    with open_study(folder / "study", {}) as journal:
        run_schedule(
            Schedule(journal, the_plan, lambda config: 1.0, [callbacks], interrupt), tiny_corpus(), backend, interrupt
        )


def nothing(job: Mapping[str, Any], corpus: Any, resources: Any) -> None:
    """Report the epochs of a trial without training, each as if it were the best so far."""
    from ray import tune

    outputs = reported_outputs()
    for epoch in range(1, EPOCHS + 1):
        score = job["config"]["fc_dropout"]
        epoch_result = EpochResult(
            epoch=epoch, train_loss=1.0, val_loss=1.0, val_accuracy=score, score=score, seconds=0.0
        )
        tune.report({"epoch_result": dataclasses.asdict(epoch_result), **outputs})
    tune.report({"result": {"n_parameters": 1}})


def reported_outputs() -> dict[str, Any]:
    """Return what an epoch that is the best so far reports besides its figures: outputs for 1,000 sentences."""
    logits = np.random.default_rng(0).normal(0, 1, (1000, 2))
    return {"val_predictions": pack_labels(logits.argmax(axis=1)), "log_odds": pack_log_odds(round_log_odds(logits))}


def plan(trials: int) -> StudyConfig:
    return StudyConfig(space=space(), n_trials=trials, epochs=EPOCHS, parallelism=WORKERS, seed=1, stopping=None)


@cache
def space() -> Space:
    """Return the space, read once as in a search."""
    return load_space("notebook", ["embedding_dropout=float(0,0.6)"])


def bare_ray(trials: int, folder: Path, *, reuse: bool) -> dict[str, float]:
    """Run Ray Tune with OptunaSearch, as its documentation shows it."""
    clock = Clock()  # Ray's import belongs to the start-up, as in sentune's search

    import ray
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    def trainable(config: dict[str, Any]) -> None:
        for _ in range(EPOCHS):
            tune.report({"score": config["fc_dropout"]})

    class Ends(tune.Callback):  # type: ignore[misc]  # mypy skips Ray: see pyproject.toml
        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            clock.end()

    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    ray.init("local", num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(suggest, sampler=sampler(), metric="score", mode="max"),
            num_samples=trials,
            max_concurrent_trials=WORKERS,
            reuse_actors=reuse,
        ),
        run_config=tune.RunConfig(storage_path=str(folder), verbose=0, callbacks=[Ends()]),
    ).fit()
    ray.shutdown()
    return clock.figures()


def suggest(trial: Any) -> None:
    """Suggest a configuration to OptunaSearch, which pickles this function."""
    space().suggest(trial)


def bare_optuna(trials: int, folder: Path, *, journal: bool) -> dict[str, float]:
    """Run `study.optimize` in one process."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    clock, searched = Clock(), space()

    def objective(trial: optuna.Trial) -> float:
        score = float(searched.suggest(trial)["fc_dropout"] or 0)
        for epoch in range(EPOCHS):
            trial.report(score, epoch)
        return score

    storage = JournalStorage(JournalFileBackend(str(folder / "journal"))) if journal else None
    study = optuna.create_study(direction="maximize", sampler=sampler(), storage=storage)
    study.optimize(objective, n_trials=trials, callbacks=[lambda study, trial: clock.end()])
    return clock.figures()


def sampler() -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna's: `group` and `multivariate` are experimental
        return optuna.samplers.TPESampler(seed=1, multivariate=True, group=True, constant_liar=True, n_startup_trials=6)


def best_seconds(trials: int) -> float:
    """Return the seconds of `best`, with Python's start, on a study of synthetic trials with stored probabilities."""
    from benchmarks.baselines.sentune_studies import run_sentune
    from benchmarks.inputs.recorded_study import record_study, store_probabilities

    with tempfile.TemporaryDirectory(prefix="sentune-overhead-") as folder:
        record_study(Path(folder, "study"), trials=trials, space="default")
        store_probabilities(Path(folder, "study"))
        began = time.perf_counter()
        run_sentune("best", f"{folder}/study")
        return time.perf_counter() - began


WAYS = {
    "sentune": "sentune",
    "ray_reuse": "Ray Tune with OptunaSearch, reuse",
    "ray": "Ray Tune with OptunaSearch",
    "optuna": "Optuna, in memory, one process",
    "optuna_journal": "Optuna, journal file, one process",
}
STEPS: dict[str, Callable[[int, Path], dict[str, float]]] = {
    "sentune": sentune,
    "open": with_open_trials,
    "ray_reuse": lambda trials, folder: bare_ray(trials, folder, reuse=True),
    "ray": lambda trials, folder: bare_ray(trials, folder, reuse=False),
    "optuna": lambda trials, folder: bare_optuna(trials, folder, journal=False),
    "optuna_journal": lambda trials, folder: bare_optuna(trials, folder, journal=True),
}


def parse() -> argparse.Namespace:
    parser = new_parser(__doc__, "Run 12 trials, and `best` on 500.")
    for name in ("--step", "--folder"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--trials", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
