"""Do the corrected figures of ensembles hold, and which rule selects the best?

    python -m benchmarks.quality.ensemble_selection            500 searches of each size: 10 minutes of processor time
    python -m benchmarks.quality.ensemble_selection --quick    10 of each: shows that it works, not what holds

The searches are those of benchmarks.quality.selection_bias. Each has the stored probabilities of its trials and of a
plain baseline that was fitted on the same 2,000 sentences. The code of `sentune best` selects and assesses the
ensemble. Its accuracy on all 5,000 sentences is the truth.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.recorded_epochs import RecordedEpochs
from benchmarks.quality.selection_bias import (
    covers,
    draw_search,
    mean_of,
    parse,
    read_record,
    replay_search,
    run_searches,
    share_of,
    study,
)
from benchmarks.results import table_head, table_row, verdict
from core.log_odds import to_probabilities
from core.metrics import METRICS
from tuning.analysis.assessment import assess
from tuning.analysis.ensemble import Library, select
from tuning.analysis.selection_bias import FIXED, Corrected
from tuning.journal.predictions import pack_labels
from tuning.journal.probabilities import epoch_name, pack_log_odds, save_probabilities
from tuning.journal.records import PLAIN_BASELINE, TrialRecord, rank_trials

Members = NDArray[np.int64]
"""(T,) how often each model of a library is a member."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Figures of one search, in points of accuracy."""

    raw: float
    """Raw minus true accuracy of the ensemble."""
    corrected: float
    """Corrected minus true accuracy of the ensemble."""
    covered: bool
    """Whether the interval of the corrected accuracy contains the true one."""
    gain: float
    """Corrected minus true gain over the best trial."""
    gain_covered: bool
    over_plain: float
    """Corrected minus true gain over the plain baseline."""
    over_plain_covered: bool
    best: float
    """True accuracy of the best trial."""
    plain: float
    """True accuracy of the plain baseline."""
    rules: Mapping[str, float]
    """True accuracy of the ensembles that RULES select."""


def main() -> None:
    arguments = parse(__doc__, "Run 10 searches of each size.")
    found = run_searches(10 if arguments.quick else arguments.searches, arguments.processes, assess_search, row)
    print("\n" + "\n".join(claims(found, conclusive=not arguments.quick)) + "\n")
    print("\n".join(gains(found)))


def assess_search(size: tuple[int, int], seed: int) -> Outcome:
    """Replay a search on its own validation split and compare its ensembles with the truth."""
    return outcome(read_record(), *draw_search(read_record(), size, seed))


def outcome(recorded: RecordedEpochs, chosen: NDArray[np.int64], sentences: NDArray[np.int64]) -> Outcome:
    """Assess a search of some configurations on its validation sentences."""
    records = replay_search(recorded, chosen, sentences)
    labels = recorded.labels[sentences]
    predictions = (recorded.plain_log_odds[sentences] > 0).astype(np.int64)
    attributes = study(labels) | {PLAIN_BASELINE: {"val_predictions": pack_labels(predictions)}}
    outputs = {r.number: recorded.log_odds[chosen[r.number], r.best.epoch - 1] for r in records if r.best}
    outputs[FIXED] = recorded.plain_log_odds
    with tempfile.TemporaryDirectory() as folder:
        store(Path(folder), records, {number: each[sentences] for number, each in outputs.items()})
        judged = assess(records, attributes, Path(folder))
    ensemble = judged.ensemble
    if ensemble is None or ensemble.gain_over_plain is None:
        raise ValueError("there is no ensemble")
    # As read_library orders them; a constant trial may not be a member.
    ordered = [r.number for r in sorted(records, key=lambda r: (r.best.val_loss if r.best else 0, r.number))]
    models = [number for number in ordered if judged.useless.get(number) != "one class"] + [FIXED]
    every = np.stack([_probabilities(outputs[number]) for number in models], axis=1)  # (C, T, population)
    library = Library(
        metric=METRICS["accuracy"],
        labels=labels,
        models=models,
        probabilities=np.ascontiguousarray(every[:, :, sentences]),
        costs=np.ones(len(models)),
    )

    def true(members: NDArray[np.int64]) -> float:
        mean = np.tensordot(members.astype(np.float64), every, (0, 1))  # (C, population)
        return 100 * float((mean.argmax(axis=0) == recorded.labels).mean())

    def error(found: Corrected, true: float) -> float:
        return 100 * found.value - true

    value = true(np.array([ensemble.counts.get(number, 0) for number in models]))
    best = 100 * float(
        (_probabilities(outputs[rank_trials(records)[0].number]).argmax(axis=0) == recorded.labels).mean()
    )
    plain = true(np.array([number == FIXED for number in models]))
    return Outcome(
        raw=100 * ensemble.corrected.raw - value,
        corrected=error(ensemble.corrected, value),
        covered=covers(ensemble.corrected, value / 100),
        gain=error(ensemble.gain, value - best),
        gain_covered=covers(ensemble.gain, (value - best) / 100),
        over_plain=error(ensemble.gain_over_plain, value - plain),
        over_plain_covered=covers(ensemble.gain_over_plain, (value - plain) / 100),
        best=best,
        plain=plain,
        rules={name: true(rule(library)) for name, rule in RULES.items()},
    )


def store(folder: Path, records: Sequence[TrialRecord], log_odds: Mapping[int, NDArray[np.int16]]) -> None:
    """Write the log-odds (n,) of the trials' best epochs and of the plain baseline as a study has them."""
    for record in records:
        if record.best is not None:
            packed = pack_log_odds(log_odds[record.number][:, None])
            save_probabilities(folder, epoch_name(record.number, record.best.epoch), packed)
    save_probabilities(folder, PLAIN_BASELINE, pack_log_odds(log_odds[FIXED][:, None]))


def _probabilities(log_odds: NDArray[np.int16]) -> NDArray[np.float32]:
    """Return (C, n) of log-odds (n,)."""
    return np.ascontiguousarray(to_probabilities(log_odds[:, None]).T)


def _select(library: Library, size: int = 5) -> Members:
    return np.asarray(select(library, np.ones((1, len(library.labels)), dtype=np.int64), size=size)[0])


def _best_prefix(library: Library) -> Members:
    """Return the best of the ensembles after 1 to 5 selections; of equal ones, the smallest."""

    def accuracy(members: Members) -> float:
        mean = np.tensordot(members.astype(np.float64), library.probabilities, (0, 1))
        return float((mean.argmax(axis=0) == library.labels).mean())

    return max((_select(library, size) for size in range(1, 6)), key=accuracy)


def _greedy(library: Library, candidates: int = 1000) -> Members:
    """Select by the metric alone: the plain baseline is a model like any other."""
    with patch("tuning.analysis.ensemble.MAX_CANDIDATES", candidates):
        return _select(replace(library, models=list(range(len(library.models)))))


def _top(library: Library, trials: int, *, plain: int) -> Members:
    """Return the best trials, each once, and the plain baseline this many times."""
    right = (library.probabilities.argmax(axis=0) == library.labels).mean(axis=1)
    right[library.models.index(FIXED)] = -1
    members = np.zeros(len(library.models), dtype=np.int64)
    members[np.argsort(-right, kind="stable")[:trials]] = 1
    members[library.models.index(FIXED)] = plain
    return members


RULES: dict[str, Callable[[Library], Members]] = {
    "2 selections": partial(_select, size=2),
    "3 selections": partial(_select, size=3),
    "5 selections (default)": _select,
    "10 selections": partial(_select, size=10),
    "5, but the best of 1 to 5": _best_prefix,
    "5, by the metric alone (Caruana et al. 2004)": _greedy,
    "the same, of the 10 best models": partial(_greedy, candidates=10),
    "best trial and plain baseline": partial(_top, trials=1, plain=1),
    "5 best trials": partial(_top, trials=5, plain=0),
    "3 best trials, plain baseline twice": partial(_top, trials=3, plain=2),
}


def row(size: tuple[int, int], outcomes: Sequence[Outcome]) -> dict[str, str]:
    """Return the cells of a line of the first table by their titles; errors are standard errors of the mean."""
    mean, share = partial(mean_of, outcomes), partial(share_of, outcomes)
    return {
        "n": str(size[0]),
        "trials": str(size[1]),
        "raw - true": mean("raw"),
        "corrected - true": mean("corrected"),
        "covered": share("covered"),
        "gain over best trial: corrected - true": mean("gain"),
        "covered ": share("gain_covered"),
        "gain over plain baseline: corrected - true": mean("over_plain"),
        "covered  ": share("over_plain_covered"),
    }


def claims(found: Mapping[tuple[int, int], Sequence[Outcome]], *, conclusive: bool) -> Iterator[str]:
    """Yield whether each claim holds."""
    end = partial(verdict, conclusive=conclusive)
    for (n, trials), outcomes in found.items():
        name = f"n = {n}, {trials} trials"
        off = fmean(each.corrected for each in outcomes)
        yield f"{end(abs(off) <= 0.4)}: {name}: corrected figure is off by {off:+.2f}, at most 0.4"
        share = fmean(each.covered for each in outcomes)
        yield f"{end(share >= 0.93)}: {name}: covered {100 * share:.1f}%, at least 93%"


def gains(found: Mapping[tuple[int, int], Sequence[Outcome]]) -> Iterator[str]:
    """Yield the lines of the second table: true gains over the best trial, and the worst single one."""
    yield from table_head(("true gain over the best trial", *(f"{n}, {trials}" for n, trials in found), "worst"))
    for name in RULES:
        values = [[each.rules[name] - each.best for each in outcomes] for outcomes in found.values()]
        yield table_row((name, *(f"{fmean(each):+.2f}" for each in values), f"{min(map(min, values)):+.1f}"))
    plain = (f"{fmean(each.plain - each.best for each in outcomes):+.2f}" for outcomes in found.values())
    yield table_row(("plain baseline alone", *plain, ""))


if __name__ == "__main__":
    main()
