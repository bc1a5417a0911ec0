"""tuning.scheduling.budget: what ends a study, and that it depends on the trials' order alone."""

import pytest

from core.errors import ConfigError
from core.training.result import EpochResult
from tuning.formatting import format_duration
from tuning.journal.records import TrialRecord, counted_trials
from tuning.scheduling.budget import Budget, EarlyEnd, parse_duration


def trial(number: int, accuracy: float | None, state: str = "COMPLETE") -> TrialRecord:
    epochs = [] if accuracy is None else [accuracy]
    return TrialRecord(
        number=number,
        state=state,
        params={},
        config={},
        origin="sampler",
        epochs=tuple(
            EpochResult(epoch=i, train_loss=1.0, val_loss=1.0, val_accuracy=a, seconds=1.0)
            for i, a in enumerate(epochs, 1)
        ),
        error=None,
        n_parameters=None,
    )


def trials(*accuracies: float | None) -> list[TrialRecord]:
    return [trial(number, accuracy) for number, accuracy in enumerate(accuracies)]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1h1m1s", 3661), ("1.5H", 5400)]
)
def test_a_duration_has_hours_minutes_and_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "m", "30m1h", "-5m", "0s", "five minutes", "nan"])
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ConfigError, match=f"--time-budget must be a time such as 90s, 30m, 2h or 1h30m, got '{text}'"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(90, "1m30s"), (1800, "30m"), (5400, "1h30m"), (7200, "2h"), (0.2, "0s")]
)
def test_a_duration_is_shown_as_it_is_typed(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_all_broken_limits_are_named_together() -> None:
    message = (
        r"--target must be a validation accuracy above 0 and at most 1, such as 0\.8, got 80; --patience-trials must"
    )
    with pytest.raises(ConfigError, match=message):
        Budget(target=80, patience_trials=0)
    with pytest.raises(ConfigError, match=r"--target .* got nan"):
        Budget(target=float("nan"))


def test_the_first_trial_in_order_that_reaches_the_target_ends_the_study() -> None:
    budget = Budget(target=0.8)
    assert budget.check(trials(0.5, 0.79)) is None
    assert budget.check(trials(0.5, 0.8, 0.9)) == EarlyEnd(reason="target 0.8 reached by trial 1", last=1)


def test_a_trial_counts_only_when_all_before_it_are_over() -> None:
    known = trials(0.5, 0.6, 0.9)
    assert Budget(target=0.8).check([known[0], trial(1, 0.6, "RUNNING"), known[2]]) is None
    assert Budget(target=0.8).check(known) == EarlyEnd(reason="target 0.8 reached by trial 2", last=2)


def test_a_failed_trial_reaches_no_target() -> None:
    assert Budget(target=0.8).check([trial(0, 0.9, "FAIL")]) is None


def test_patience_counts_trials_since_the_best() -> None:
    budget = Budget(patience_trials=3)
    assert budget.check(trials(0.5, 0.7, 0.6, 0.7)) is None
    ending = budget.check(trials(0.5, 0.7, 0.6, 0.7, 0.1, 0.99))
    assert ending == EarlyEnd(reason="3 trials in a row without a better one since trial 1", last=4)


def test_patience_counts_from_the_start_where_nothing_worked() -> None:
    ending = Budget(patience_trials=2).check(trials(None, None))
    assert ending == EarlyEnd(reason="2 trials in a row without a better one since the start", last=1)


def test_no_limit_never_ends_a_study() -> None:
    assert Budget(seconds=1.0).check(trials(1.0, 0.0, 0.0)) is None


def test_what_came_after_the_deciding_trial_does_not_count() -> None:
    known = trials(0.5, 0.9, 0.95)
    assert [record.number for record in counted_trials(known, EarlyEnd(reason="", last=1).to_dict())] == [0, 1]
    assert counted_trials(known, EarlyEnd(reason="time").to_dict()) == known
    assert counted_trials(known, None) == known


def test_a_note_says_why_and_what_does_not_count() -> None:
    assert Budget(seconds=1800).timed_out.notes == ["the study ended early: time budget of 30m used up"]
    assert EarlyEnd(reason="target 0.8 reached by trial 4", last=4).notes == [
        "the study ended early: target 0.8 reached by trial 4",
        "trials after 4 do not count: which were begun depended on time",
    ]
