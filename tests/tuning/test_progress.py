"""tuning.progress: what a person sees while a search runs."""

import io
from typing import Any

from rich.console import Console

from core.config import TrialConfig
from core.epoch import EpochResult
from tests.tuning.test_results import record
from tuning.progress import Progress, Tally, clock


def epoch(number: int, accuracy: float, seconds: float = 2.0) -> EpochResult:
    return EpochResult(epoch=number, train_loss=1.0, val_loss=1.0, val_accuracy=accuracy, seconds=seconds)


def listen(progress: Progress) -> None:
    """Trial 0 is done after two epochs, 1 failed, 2 was stopped, 3 runs."""
    for number in (0, 1, 2, 3):
        progress.started(number, TrialConfig(hidden_dim=64 + number))
    progress.epoch(0, epoch(1, 0.6))
    progress.epoch(0, epoch(2, 0.8))
    progress.ended(record(0, 0.6, 0.8))
    progress.ended(record(1, state="FAIL", error="TrainingError: [red]NaN"))
    progress.epoch(2, epoch(1, 0.7))
    progress.ended(record(2, 0.7, state="PRUNED"))
    progress.epoch(3, epoch(1, 0.75))


def shown(**console: Any) -> str:
    out = io.StringIO()
    progress = Progress(
        Console(file=out, **console), Tally(n_trials=6, workers=2), frozenset({"hidden_dim"}), every_seconds=0
    )
    with progress:
        listen(progress)
    return out.getvalue()


def test_plain_lines_count_trials_and_name_the_best() -> None:
    lines = shown(width=200).splitlines()
    assert "trial 1 failed: TrainingError: [red]NaN" in lines
    assert lines[-1].startswith("3/6 trials: 1 done, 1 stopped, 1 failed, 1 running | ")
    best = [line for line in lines if line.startswith("best so far")]
    assert best == [f"best so far: {accuracy} by trial 0 (hidden_dim=64)" for accuracy in ("0.6000", "0.8000")]


def test_a_terminal_shows_each_running_trial() -> None:
    text = shown(width=120, force_terminal=True, color_system=None)
    assert "trial 3: epoch 1, 0.7500 (hidden_dim=67)" in text
    assert "3/6 trials: 1 done, 1 stopped, 1 failed, 1 running" in text


def test_time_left_is_the_epochs_ahead_at_the_rate_so_far() -> None:
    tally = Tally(n_trials=6, workers=2)
    assert tally.seconds_left() is None
    progress = Progress(Console(file=io.StringIO()), tally, frozenset())
    listen(progress)
    # 3 trials left, 1 epoch each on average (3 epochs in 3 ended trials), one of them trained; 2 s an epoch, 2 workers
    assert tally.seconds_left() == (3 * 1 - 1) * 2 / 2


def test_a_clock_reads_like_one() -> None:
    assert [clock(s) for s in (0, 65, 3725)] == ["0:00", "1:05", "1:02:05"]
