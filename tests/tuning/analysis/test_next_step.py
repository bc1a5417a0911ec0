"""The next step: the recommended trial, unless the plain baseline is expected to be better."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.stats import Interval
from tests.support.assessed_studies import (
    CONFIG,
    attributes,
    predicting,
    reading,
    trial,
    write_study,
    write_study_with_ensemble,
)
from tests.support.epochs import epoch
from tuning.analysis.assessment import PLAIN
from tuning.analysis.best import table_of
from tuning.analysis.filters import RowFilter
from tuning.analysis.next_step import NextStep, next_step
from tuning.analysis.ranking import read_assessed
from tuning.analysis.selection_bias import FIXED
from tuning.console import called_from_python, study_command
from tuning.report.headline import cards, page_verdict, remarks

BETTER = "the plain baseline is better than the best trial"
EXPECTED = f"{BETTER}; an ensemble with it is expected to be better"
NOT_SHOWN = "the search is not shown to beat the plain baseline"
LONGER = "run more trials, or more epochs under another name"
TRIALS = [
    trial(0, range(30, 110)),
    trial(1, range(40), origin="random"),
    trial(2, range(1, 42), config=CONFIG.replace(hidden_dim=2).to_dict(), origin="random"),
]


def text_of(folder: Path, **options: Any) -> str:
    return " ".join(table_of(folder, RowFilter(), "table", **options).split())


def command(folder: Path, verb: str, options: str) -> str:
    return f"next: {study_command(verb, folder, options)}"


def study_of(**changes: Any) -> Any:
    """A study of which trial 1 is the best and 2 is recommended; changes of its assessment."""
    settings = {
        "nothing_learned": False,
        "sentences": 200,
        "references": [SimpleNamespace(name=PLAIN, metric="accuracy", accuracy=0.78)],
        "recommended_corrected": None,
        "gain_over_plain": None,
        "ensemble": None,
    }
    return SimpleNamespace(
        default_trial=SimpleNamespace(trial=2, metric="accuracy", val_metric=0.4),
        winner=SimpleNamespace(trial=1),
        assessment=SimpleNamespace(**(settings | changes)),
        spec={"metric": "accuracy"},
        attributes={},
    )


@pytest.mark.parametrize(
    ("wrong", "remark", "retrains"),
    [
        (20, f"{BETTER}; {LONGER}", False),
        (40, f"{NOT_SHOWN}; {LONGER}", False),
        (42, f"{NOT_SHOWN}; {LONGER}", True),
        (60, None, True),
    ],
)
def test_a_trial_is_trained_again_unless_the_plain_baseline_is_better(
    wrong: int, remark: str | None, retrains: bool, tmp_path: Path
) -> None:
    """Trial 2 is recommended. It is wrong on 41 sentences, which corrected are 41.5."""
    trials = [*TRIALS, trial(3, range(60, 160), origin="random")]
    write_study(tmp_path / "s", trials, attributes(plain_baseline={"val_predictions": predicting(range(wrong))}))
    with called_from_python("search(...)"):
        assert text_of(tmp_path / "s").endswith("next: study.retrain(trial=2)") == retrains
    lines = ["go on", remark, command(tmp_path / "s", "retrain", "--trial 2") if retrains else None]
    assert text_of(tmp_path / "s", hints=["go on"]).endswith(" ".join(line for line in lines if line))


def test_a_study_that_its_patience_has_ended_is_not_advised_to_train_more_trials(tmp_path: Path) -> None:
    ended = {"reason": "5 new trials without a better one", "n_trials": 2}
    plain = {"val_predictions": predicting(range(20))}
    write_study(tmp_path / "s", TRIALS[:2], attributes(plain_baseline=plain, early_end=ended))
    advice = "search without the --target or --patience-trials that ended it, or for more epochs under another --name"
    assert text_of(tmp_path / "s").endswith(f"{BETTER}; {advice}")


def test_the_test_results_are_those_of_the_best_trial_and_of_the_one_to_use(tmp_path: Path) -> None:
    readings = [reading(2, 0.625), reading(0, 0.5)]

    def tested(name: str) -> list[tuple[float, str]]:
        write_study(tmp_path / name, TRIALS, attributes(test_evaluations=readings))
        found = cards(read_assessed(tmp_path / name))
        return [(card.value, card.detail.split(";")[0]) for card in found if card.title == "Test accuracy"]

    assert tested("s") == [(0.625, "trial 2, one seed")]
    assert page_verdict(read_assessed(tmp_path / "s"))[0] == "Use trial 2."
    readings.append(reading(1, 0.75))
    assert tested("t") == [(0.75, "trial 1, one seed"), (0.625, "trial 2, one seed")]


@pytest.mark.parametrize(("corrected", "named"), [(0.77, 1), (0.79, 2)])
def test_the_best_trial_is_named_if_only_it_beats_the_plain_baseline(corrected: float, named: int) -> None:
    interval = Interval(low=0.7, high=0.9)
    study = study_of(
        gain_over_plain=SimpleNamespace(interval=SimpleNamespace(low=0.01)),
        recommended_corrected=SimpleNamespace(value=corrected, interval=interval),
        corrected=SimpleNamespace(value=0.82, interval=interval),
    )
    assert next_step(study) == NextStep(verb="retrain", trial=named, remark=None)
    value = 0.82 if named == 1 else corrected
    assert page_verdict(study) == [
        f"Use trial {named}.",
        f"Its expected accuracy on new sentences is {value:.4f} (95% interval 0.7000 to 0.9000).",
        "The search is shown to be better than the plain baseline.",
    ]


@pytest.mark.parametrize("gains", [None, False, True])
def test_the_best_trial_is_named_if_it_alone_is_better_unless_the_ensemble_is_better_still(gains: bool | None) -> None:
    open_question = Interval(low=-0.01, high=0.04)
    ensemble = SimpleNamespace(
        gains=gains, counts={FIXED: 2, 1: 3}, gain_over_plain=SimpleNamespace(value=0.01, interval=open_question)
    )
    study = study_of(
        gain_over_plain=SimpleNamespace(value=0.02, interval=open_question),
        recommended_corrected=SimpleNamespace(value=0.77),
        ensemble=None if gains is None else ensemble,
    )
    best = NextStep(verb="retrain", trial=1, remark=f"{NOT_SHOWN}; {LONGER}")
    with_plain = f"{NOT_SHOWN}; an ensemble with it is expected to be better"
    assert next_step(study) == (NextStep(verb="ensemble", trial=2, remark=with_plain) if gains else best)
    ensemble.counts = {1: 5}
    assert next_step(study) == best


@pytest.mark.parametrize(
    ("metric", "plain", "better"),
    [("accuracy", 0.78, True), ("accuracy", 0.3, False), ("log_loss", 0.3, True), ("log_loss", 0.78, False)],
)
def test_a_plain_baseline_that_is_better_is_named_although_nothing_was_learned(
    metric: str, plain: float, better: bool
) -> None:
    accuracy = plain if metric == "accuracy" else 0.5
    reference = SimpleNamespace(name=PLAIN, metric=metric, accuracy=accuracy, value=plain)
    study = study_of(nothing_learned=True, references=[reference])
    step = NextStep(verb=None, trial=2, remark=f"{NOT_SHOWN}; {LONGER}")
    assert next_step(study) == (step if better else None)
    assert (page_verdict(study)[-1] == f"T{NOT_SHOWN[1:]}; {LONGER}.") is better


def test_without_corrected_figures_the_value_of_the_recommended_trial_counts(tmp_path: Path) -> None:
    """Trial 1 is as good as the plain baseline, trial 2 is worse by a sentence. Trial 3 has no stored predictions."""
    trials = [*TRIALS, trial(3, range(60, 160), origin="random", predictions=())]
    write_study(tmp_path / "s", trials, attributes(plain_baseline={"val_predictions": predicting(range(40))}))
    assert text_of(tmp_path / "s").endswith(f" {NOT_SHOWN}; {LONGER}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "plain", "remark"),
    [
        ((range(50), range(50, 100), range(100, 150)), range(40, 65), EXPECTED),
        ((range(50), range(50), range(50)), range(5), f"{BETTER}; the ensemble consists of it alone"),
        (
            (range(50), range(50, 100), range(100, 150)),
            range(120, 165),
            "only the ensemble is shown to beat the plain baseline",
        ),
    ],
)
def test_the_ensemble_comes_first_if_it_is_as_good_as_a_better_plain_baseline(
    wrong: tuple[range, ...], plain: range, remark: str, tmp_path: Path
) -> None:
    write_study_with_ensemble(tmp_path / "s", wrong, plain)
    assert text_of(tmp_path / "s").endswith(f" {remark} {command(tmp_path / 's', 'ensemble', '')}")
    with called_from_python("search(...)"):
        assert text_of(tmp_path / "s").endswith("next: study.ensemble()")
    page = read_assessed(tmp_path / "s")
    verdict = " ".join([*page_verdict(page), *remarks(page)])
    assert "Use the ensemble: sentune ensemble s. Its expected accuracy on new sentences is 0." in verdict
    assert f"{remark[0].upper()}{remark[1:]}." in verdict
    assert "Use trial" not in verdict
    assert ("The best ensemble is the plain baseline alone." in verdict) == remark.endswith("alone")


def test_a_study_whose_only_trial_failed_after_an_epoch_has_no_next_step(tmp_path: Path) -> None:
    failed = trial(0, range(40), state="FAIL", epochs=(epoch(1, 0.8),), error="TrainingError: the loss is nan")
    write_study(tmp_path / "s", [failed], attributes())
    assert "next: " not in text_of(tmp_path / "s")


def test_a_study_that_has_not_ended_has_no_next_step(tmp_path: Path) -> None:
    trials = [trial(0, range(40)), trial(1, range(30))]
    write_study(tmp_path / "s", trials, attributes())
    assert text_of(tmp_path / "s").endswith(command(tmp_path / "s", "retrain", "--trial 1"))
    assert "next: " not in table_of(tmp_path / "s", RowFilter(), "table", finished=False)
    write_study(tmp_path / "open", [*trials, trial(2, (), state="RUNNING", epochs=(epoch(1, 0.5),))], attributes())
    assert "next: " not in table_of(tmp_path / "open", RowFilter(), "table")


def test_with_few_sentences_more_trials_are_no_advice() -> None:
    """No gain is shown with fewer than 30."""
    with called_from_python("search(...)"):
        step = next_step(study_of(nothing_learned=True, sentences=24))
    assert step is not None
    assert step.remark is not None
    assert step.remark.endswith('search with validation="folds:5" and another name')
