"""Search with the tutorial notebook's loop under plain Ray Tune and plain Optuna.

These are the baselines of benchmarks.search.whole_search, written as the documentation of the libraries shows it. `run`
starts each search in its own process. The result is the last line that the process prints, in JSON.
"""

import functools
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from benchmarks.baselines.notebook_loop import NotebookLoop, Shape
from benchmarks.results import new_parser
from benchmarks.search.overhead import sampler
from core import load_corpus
from tuning.scheduling.asha import Asha
from tuning.space.load import load_space


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way to search with the loop."""

    title: str
    library: str = "ray"
    """Library: ray or optuna."""
    at_once: int = 1
    threads: int = 2
    """Number of threads per trial."""
    asha: bool = False
    """Whether to use Ray's ASHA and reused workers."""


WAYS = {
    "a1": Way(title="Ray Tune + OptunaSearch, one trial at a time, two threads"),
    "a2": Way(title="Ray Tune + OptunaSearch, two trials at a time, one thread each", at_once=2, threads=1),
    "b": Way(title="as a2 with ASHA and reused workers", at_once=2, threads=1, asha=True),
    "c": Way(title="Optuna with MedianPruner, one process, two threads", library="optuna"),
}


@dataclass(frozen=True, kw_only=True)
class Job:
    """One search of the `notebook` space."""

    way: str
    dataset: str
    vectors: str
    settings: Sequence[str]
    """Changes of the space, as in `--set`."""
    trials: int
    epochs: int
    limit: int
    """Number of epochs after which every trial ends."""
    points: Sequence[Mapping[str, Any]]
    """Parameters to try first."""
    seed: int


@dataclass(frozen=True, kw_only=True)
class Searched:
    """The result of a search."""

    seconds: float
    """Duration of the whole command."""
    trials: Sequence[Sequence[float]]
    """Seconds of each epoch of each trial."""

    @property
    def epochs(self) -> int:
        return sum(map(len, self.trials))

    @property
    def epoch_seconds(self) -> float:
        """Mean seconds per epoch, with equal weight for each trial."""
        return statistics.fmean(map(statistics.fmean, self.trials))


def run(job: Job) -> Searched:
    """Run the search in its own process."""
    environment = {"TUNE_FUNCTION_THREAD_TIMEOUT_S": "60", "RAY_USAGE_STATS_ENABLED": "0"}
    command = [sys.executable, "-m", "benchmarks.search.ray_and_optuna", json.dumps(asdict(job))]
    began = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=os.environ | environment)
    seconds = time.perf_counter() - began
    trials = json.loads(done.stdout.splitlines()[-1])
    if len(trials) != job.trials:
        raise RuntimeError(f"{job.way} returned {len(trials)} of {job.trials} trials")
    return Searched(seconds=seconds, trials=trials)


def new_loop(job: Job, params: Mapping[str, Any], threads: int) -> NotebookLoop:
    """Create the loop for a trial."""
    config = load_space("notebook", job.settings).to_config(params)
    shape = Shape(**{field.name: getattr(config, field.name) for field in fields(Shape)})
    corpus = load_corpus(job.dataset, vectors=job.vectors)
    return NotebookLoop(shape, corpus, seed=job.seed, threads=threads)


def suggest(trial: Any, settings: Sequence[str]) -> None:
    """Suggest a configuration to OptunaSearch, which pickles this function."""
    load_space("notebook", settings).suggest(trial)


def with_ray(job: Job) -> list[list[float]]:
    """Run a `Tuner` whose trials report each epoch; return the seconds of each epoch of each trial."""
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    way, found = WAYS[job.way], dict[str, list[float]]()

    def trainable(config: dict[str, Any]) -> None:
        loop = new_loop(job, config, way.threads)
        for _ in range(job.limit):
            seconds, accuracy = loop.epoch()
            tune.report({"seconds": seconds, "accuracy": accuracy})

    class Notes(tune.Callback):  # type: ignore[misc]  # mypy skips Ray: see pyproject.toml
        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
            found.setdefault(trial.trial_id, []).append(result["seconds"])

    goal = {"metric": "accuracy", "mode": "max"}
    rule = Asha()  # the default of `sentune run`
    first = rule.first_rung(job.epochs)
    asha = ASHAScheduler(**goal, max_t=job.epochs, grace_period=first, reduction_factor=rule.reduction)
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    search = functools.partial(suggest, settings=job.settings)
    with tempfile.TemporaryDirectory(prefix="sentune-bare-") as folder:
        tune.Tuner(
            tune.with_resources(trainable, {"cpu": way.threads}),
            tune_config=tune.TuneConfig(
                search_alg=OptunaSearch(search, sampler=sampler(), points_to_evaluate=list(job.points), **goal),
                scheduler=asha if way.asha else None,
                num_samples=job.trials,
                max_concurrent_trials=way.at_once,
                reuse_actors=way.asha,
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0, callbacks=[Notes()]),
        ).fit()
        ray.shutdown()
    return list(found.values())


def with_optuna(job: Job) -> list[list[float]]:
    """Run `study.optimize` in this process; return the seconds of each epoch of each trial."""
    import optuna

    space, found = load_space("notebook", job.settings), list[list[float]]()

    def objective(trial: optuna.Trial) -> float:
        params = space.suggest(trial)
        loop, epochs, pruned = new_loop(job, params, WAYS[job.way].threads), list[tuple[float, float]](), False
        while len(epochs) < job.limit and not pruned:
            epochs.append(loop.epoch())
            trial.report(epochs[-1][1], len(epochs))
            pruned = trial.should_prune()
        found.append([seconds for seconds, _ in epochs])
        if pruned:
            raise optuna.TrialPruned
        return max(accuracy for _, accuracy in epochs)

    study = optuna.create_study(direction="maximize", sampler=sampler(), pruner=optuna.pruners.MedianPruner())
    for point in job.points:
        study.enqueue_trial(dict(point))
    study.optimize(objective, n_trials=job.trials)
    return found


LIBRARIES: dict[str, Callable[[Job], list[list[float]]]] = {"ray": with_ray, "optuna": with_optuna}


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("job", type=json.loads, help="Fields of Job as a JSON object.")
    job = Job(**parser.parse_args().job)
    print(json.dumps(LIBRARIES[WAYS[job.way].library](job)))


if __name__ == "__main__":
    main()
