"""Do the corrected figures and the recommendation hold on new sentences?

    python -m benchmarks.quality.selection_bias            500 searches of each size: an hour of processor time
    python -m benchmarks.quality.selection_bias --quick    20 of each: shows that it works, not what holds

Forty LSTMs (the baseline and 39 of the space `quick`) are trained on 2,000 rated snippets for 8 epochs. Their
predictions on 5,000 other snippets after each epoch are kept in RECORD, so they are trained only once. The 5,000
sentences are the population. A search draws its validation split from them with replacement, so the score on all of
them is the exact truth. The study's own virtual clock replays the search, and the code of `sentune best` assesses it.
The second part simulates studies in which one sentence in twenty has the rare class.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.recorded_epochs import RecordedEpochs, recorded_epochs
from benchmarks.results import mean_and_error, new_parser, process_pool, table_head, table_row, verdict
from core.config import TrialConfig
from core.log_odds import STEPS, round_log_odds, to_probabilities
from core.metrics import METRICS
from core.training.result import EpochResult
from tuning.analysis.assessment import StudyAssessment, assess
from tuning.analysis.selection_bias import Corrected
from tuning.journal.predictions import pack_labels
from tuning.journal.probabilities import epoch_name, pack_log_odds, save_probabilities
from tuning.journal.records import TrialRecord, rank_trials
from tuning.scheduling.asha import Asha
from tuning.scheduling.simulated_backend import simulate
from tuning.scheduling.study_config import default_lag
from tuning.scheduling.virtual_clock import VirtualClock
from tuning.scheduling.virtual_cost import epoch_cost

RECORD = Path(__file__).parents[2] / "results/recorded-outputs.npz"
NO_FOLDER = Path("nonexistent")
"""Folder of a study that has stored no probabilities."""
TRIALS, EPOCHS, SEED = 40, 8, 42
SIZES = ((200, 16), (400, 16), (1057, 16), (200, 40), (400, 40), (1057, 40))
"""Validation sentences and trials of the searches."""
RARE = 0.05
"""Frequency of the rare class in the second part."""
CONSTANT = (3, 9)
"""Trials that predict the common class only."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Figures of one search, in points of accuracy."""

    raw: float
    """Raw minus true accuracy of the best trial."""
    corrected: float
    """Corrected minus true accuracy of the best trial."""
    covered: bool
    """Whether the interval of the corrected accuracy contains the true one."""
    recommended: float
    """Corrected minus true accuracy of the recommended trial."""
    recommended_covered: bool
    gain: float | None
    """Corrected minus true gain over the baseline."""
    gain_covered: bool | None
    lost: float
    """True accuracy of the best minus that of the recommended trial."""
    tied: bool
    """Whether the truly best trial is among the tied ones."""


def main() -> None:
    arguments = parse(__doc__, "Run 20 searches of each size and 5 studies per metric.")
    found = run_searches(20 if arguments.quick else arguments.searches, arguments.processes, assess_search, row)
    print("\n" + "\n".join(claims(found, conclusive=not arguments.quick)))
    print("\nrare class: constant trials recommended")
    for name in METRICS:
        studies = 5 if arguments.quick else 100
        chosen = sum(constant_is_recommended(name, seed) for seed in range(studies))
        print(f"{name}: {chosen} of {studies}", flush=True)


def run_searches(
    searches: int, processes: int, run: Callable[..., Any], row: Callable[..., Mapping[str, str]]
) -> dict[tuple[int, int], list[Any]]:
    """Call `run` for each size and seed, print a `row` for each size, and return the outcomes by size."""
    read_record()  # before the processes start
    print(f"{searches} searches of each size\n")
    found = {}
    with process_pool(processes) as pool:
        for size in SIZES:
            found[size] = list(pool.map(partial(run, size), range(searches), chunksize=5))
            cells = row(size, found[size])
            if len(found) == 1:
                print(*table_head(list(cells)), sep="\n")
            print(table_row(cells.values()), flush=True)
    return found


@cache
def read_record() -> RecordedEpochs:
    """Return the models of RECORD; train them if it is missing."""
    return recorded_epochs(RECORD, trials=TRIALS, epochs=EPOCHS, seed=SEED)


def assess_search(size: tuple[int, int], seed: int) -> Outcome:
    """Replay a search on its own validation split and compare its assessment with the truth."""
    recorded = read_record()
    chosen, sentences = draw_search(recorded, size, seed)
    records = replay_search(recorded, chosen, sentences)
    judged = assess(records, study(recorded.labels[sentences]), NO_FOLDER)
    return outcome(records, judged, true_accuracies(recorded, chosen))


def draw_search(
    recorded: RecordedEpochs, size: tuple[int, int], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (T,) the configurations of a search, the baseline first, and (n,) its validation sentences."""
    n, trials = size
    draw = np.random.default_rng([n, trials, seed])
    others = 1 + draw.permutation(len(recorded.configs) - 1)[: trials - 1]
    return np.concatenate([[0], others]), draw.integers(0, len(recorded.labels), n)


def replay_search(
    recorded: RecordedEpochs, chosen: NDArray[np.int64], sentences: NDArray[np.int64]
) -> list[TrialRecord]:
    """Return the trials of a search with promotion on two virtual workers, with the epochs that it trained.

    Args:
        recorded: Source of all predictions.
        chosen: (T,) configurations, the baseline first.
        sentences: (n,) the validation split.
    """
    predictions = recorded.predictions[chosen][:, :, sentences]  # (T, E, n)
    accuracies = (predictions == recorded.labels[sentences]).mean(axis=2)
    odds = recorded.log_odds[chosen][:, :, sentences] / STEPS
    losses = np.logaddexp(0, np.where(recorded.labels[sentences] == 1, -odds, odds)).mean(axis=2)  # break ties
    costs = [epoch_cost(recorded.configs[each], recorded.shape) for each in chosen]
    unit = median(costs)
    epochs = [0] * len(chosen)

    def clock(score: Any) -> VirtualClock:
        settings = {"n_trials": len(chosen), "epochs": EPOCHS, "parallelism": 2, "lag": default_lag(2), "rule": Asha()}
        return VirtualClock(**settings, start=lambda trial: costs[trial] / unit, score=score)

    best = np.maximum.accumulate(accuracies, axis=1)
    for end in simulate(clock, lambda t, e: float(best[t, e - 1]), lambda t, e: costs[t] / unit, workers=2):
        epochs[end.trial] = max(epochs[end.trial], end.epoch)
    return [
        record(number, recorded.configs[each], predictions[number, : epochs[number]], accuracies[number],
               losses[number])
        for number, each in enumerate(chosen)
    ]  # fmt: skip


def record(
    number: int,
    config: TrialConfig,
    predictions: NDArray[Any],
    scores: Sequence[float] | NDArray[np.float64],
    losses: Sequence[float] | NDArray[np.float64],
) -> TrialRecord:
    """Return a trial as the journal of a study would hold it."""
    epochs = [
        EpochResult(epoch=at + 1, train_loss=0.0, val_loss=float(losses[at]), val_accuracy=0.5, score=float(scores[at]),
                    seconds=1.0)
        for at in range(len(predictions))
    ]  # fmt: skip
    return TrialRecord(
        number=number,
        state="COMPLETE" if len(predictions) == EPOCHS else "PRUNED",
        params={},
        config=config.to_dict(),
        origin="random" if number else "baseline",
        epochs=tuple(epochs),
        error=None,
        predictions=tuple(pack_labels(each) for each in predictions),
    )


def study(labels: NDArray[np.int64], metric: str = "accuracy", n_classes: int = 2) -> dict[str, Any]:
    """Return what `assess` reads of a study's attributes; the training split has the class shares of the labels."""
    shares = np.bincount(labels, minlength=n_classes) / len(labels)
    classes = [str(number) for number in range(n_classes)]
    return {
        "spec": {"metric": metric, "embedding_dim": 50, "data": {"split": "80/10/10"}},
        "validation": {"labels": pack_labels(labels), "classes": classes},
        "vocabulary": 10_000,
        "audit": {"majority_baseline": {"class": classes[shares.argmax()], "train_shares": shares.tolist()}},
    }


def true_accuracies(recorded: RecordedEpochs, chosen: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (T, E)."""
    return np.asarray((recorded.predictions[chosen] == recorded.labels).mean(axis=2))


def outcome(records: Sequence[TrialRecord], judged: StudyAssessment, true: NDArray[np.float64]) -> Outcome:
    """Compare an assessment with the true accuracies (T, E)."""
    truth = {r.number: float(true[r.number, r.best.epoch - 1]) for r in records if r.best}
    best = rank_trials(records)[0].number
    if judged.corrected is None or judged.recommended_corrected is None or judged.recommended is None:
        raise ValueError("nothing was learned")
    gain = None if judged.corrected_gain is None else truth[best] - truth[0]
    return Outcome(
        raw=100 * (judged.corrected.raw - truth[best]),
        corrected=100 * (judged.corrected.value - truth[best]),
        covered=covers(judged.corrected, truth[best]),
        recommended=100 * (judged.recommended_corrected.value - truth[judged.recommended]),
        recommended_covered=covers(judged.recommended_corrected, truth[judged.recommended]),
        gain=None if gain is None or judged.corrected_gain is None else 100 * (judged.corrected_gain.value - gain),
        gain_covered=None if gain is None or judged.corrected_gain is None else covers(judged.corrected_gain, gain),
        lost=100 * (truth[best] - truth[judged.recommended]),
        tied=bool(judged.tied[max(truth, key=lambda number: truth[number])]),
    )


def covers(found: Corrected, true: float) -> bool:
    return found.interval.low <= true <= found.interval.high


def mean_of(outcomes: Sequence[Any], name: str) -> str:
    """Format the mean of a figure with its standard error; None does not count."""
    return mean_and_error([value for each in outcomes if (value := getattr(each, name)) is not None])


def share_of(outcomes: Sequence[Any], name: str) -> str:
    """Format the share of the outcomes in which a figure is true; None does not count."""
    known = [value for each in outcomes if (value := getattr(each, name)) is not None]
    return f"{100 * fmean(known):.0f}%" if known else "-"


def row(size: tuple[int, int], outcomes: Sequence[Outcome]) -> dict[str, str]:
    """Return the cells of a line of the table by their titles; errors are standard errors of the mean."""
    mean, share = partial(mean_of, outcomes), partial(share_of, outcomes)
    return {
        "n": str(size[0]),
        "trials": str(size[1]),
        "raw - true": mean("raw"),
        "corrected - true": mean("corrected"),
        "covered": share("covered"),
        "recommended: corrected - true": mean("recommended"),
        "covered ": share("recommended_covered"),
        "corrected - true gain": mean("gain"),
        "covered  ": share("gain_covered"),
        "recommended loses": mean("lost"),
        "2 or more": f"{100 * fmean(each.lost >= 2 for each in outcomes):.1f}%",
        "truly best is tied": share("tied"),
    }


def claims(found: Mapping[tuple[int, int], Sequence[Outcome]], *, conclusive: bool) -> Iterator[str]:
    """Yield whether each claim holds."""
    end = partial(verdict, conclusive=conclusive)
    for (n, trials), outcomes in found.items():
        name, limit = f"n = {n}, {trials} trials", 0.3 if n >= 400 else 0.5
        for figure in ("corrected", "recommended"):
            off = fmean(getattr(each, figure) for each in outcomes)
            yield f"{end(abs(off) <= limit)}: {name}: {figure} figure is off by {off:+.2f}, at most {limit}"
        for figure in ("covered", "recommended_covered"):
            share = fmean(getattr(each, figure) for each in outcomes)
            yield f"{end(share >= 0.93)}: {name}: {figure} {100 * share:.1f}%, at least 93%"
        if n == 1057:
            mean_limit, share_limit = (0.3, 0.05) if trials == 16 else (0.6, 0.1)
            lost, often = fmean(each.lost for each in outcomes), fmean(each.lost >= 2 for each in outcomes)
            yield f"{end(lost <= mean_limit)}: {name}: recommended loses {lost:.2f}, at most {mean_limit}"
            at_most = f"at most {100 * share_limit:.0f}%"
            yield f"{end(often <= share_limit)}: {name}: 2 or more in {100 * often:.1f}%, {at_most}"


def constant_is_recommended(metric: str, seed: int) -> bool:
    """Simulate a study with a rare class and two constant trials; return whether one of these is recommended.

    The other trials find 30 to 50% of the rare sentences, and have as many false alarms as hits on average.
    """
    draw, n = np.random.default_rng([7, seed]), 500
    labels = (draw.random(n) < RARE).astype(np.int64)
    records = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(16):
            chance = np.where(labels == 1, draw.uniform(0.3, 0.5), draw.uniform(0.01, 0.03))
            found = np.zeros(n, dtype=bool) if number in CONSTANT else draw.random(n) < chance
            predictions = found.astype(np.int64)
            odds = np.where(found, draw.uniform(0.2, 2), draw.uniform(-3.5, -2.5)) + draw.normal(0, 0.2, n)
            if number in CONSTANT:
                odds = np.full(n, np.log(RARE / (1 - RARE)))
            log_odds = round_log_odds(np.stack([np.zeros(n), odds], axis=1))
            score = METRICS[metric].value(labels, predictions, to_probabilities(log_odds), 2)
            config = TrialConfig(metric=metric)
            records.append(record(number, config, predictions[None], [METRICS[metric].oriented(score)], [0.2]))
            save_probabilities(Path(folder), epoch_name(number, 1), pack_log_odds(log_odds))
        return assess(records, study(labels, metric), Path(folder)).recommended in CONSTANT


def parse(description: str | None, quick: str, searches: int = 500) -> argparse.Namespace:
    parser = new_parser(description, quick)
    about = f"Number of searches of each size (default: {searches})."
    parser.add_argument("--searches", type=int, default=searches, help=about)
    parser.add_argument("--processes", type=int, default=2, help="Number of processes of one thread (default: 2).")
    return parser.parse_args()


if __name__ == "__main__":
    main()
