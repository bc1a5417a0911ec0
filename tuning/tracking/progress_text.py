"""Text of a search's progress: a block of lines for a terminal, one line for a log."""

import textwrap
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from core.io.text import printable
from core.metrics import METRICS
from tuning.formatting import brief_settings, format_clock, format_settings, truncate
from tuning.tracking.progress_state import BestSoFar, SearchProgress

MAX_FAILURES = 3
"""Maximum number of failures that are listed one by one."""
TITLE_WIDTH = 12
"""Width in characters of the title of an audit line."""


def live_block(progress: SearchProgress, elapsed: float, width: int, height: int) -> list[str]:
    """Return what a terminal shows: counts, rate, the best so far, and a line for each running trial.

    Args:
        progress: Progress of the search.
        elapsed: Seconds since this start.
        width: Width of the terminal; no line is longer.
        height: Height of the terminal; the result has fewer lines.
    """
    lines = [status_line(progress), rate_line(progress, elapsed)]
    if best := progress.best:
        lines.append(best_text(best, progress.remaining.config.metric))
        wrapped = textwrap.wrap(format_settings(best.settings), max(width - 2, 18), break_on_hyphens=False)
        lines += [f"  {line}" for line in wrapped]
    lines += _running_lines(progress, width, height - 1 - len(lines))
    return [truncate(line, width) for line in lines[: max(height - 1, 1)]]


def _running_lines(progress: SearchProgress, width: int, room: int) -> list[str]:
    """Return a title and the running trials by number; the last line counts those that do not fit."""
    if not progress.running or room < 3:
        return []
    config = progress.remaining.config
    metric, rows = METRICS[config.metric], sorted(progress.running.items())
    shown = rows if len(rows) < room else rows[: room - 2]
    lines = ["trial  epoch    now     best   settings"]
    for number, settings in shown:
        scores = [epoch.score for epoch in progress.trained[number]]
        now, best = (f"{metric.oriented(s):.4f}" for s in (scores[-1], max(scores))) if scores else ("-", "-")
        done = f"{len(scores)}/{config.epochs}"
        head = f"{number:>5}  {done:>5}  {now:>6}  {best:>6}   "
        lines.append(head + format_brief(settings, width - len(head)))
    if len(shown) < len(rows):
        lines.append(f"       and {len(rows) - len(shown)} more")
    return lines


def format_brief(settings: Mapping[str, Any], width: int) -> str:
    """Return settings with short names, as many as fit; `...` replaces the rest."""
    words = brief_settings(settings)
    text = " ".join(words)
    while words and len(text) > width:
        words.pop()
        text = " ".join([*words, "..."])
    return text


def status_line(progress: SearchProgress) -> str:
    """Return `7/16 trials: 2 done, 0 stopped, 0 failed, 2 running, 3 paused`; the first number has started."""
    ended, n_trials = Counter(progress.ended.values()), progress.remaining.config.n_trials
    return (
        f"{len(progress.trained)}/{n_trials} trials: {ended['COMPLETE']} done, {ended['PRUNED']} stopped, "
        f"{ended['FAIL']} failed, {len(progress.running)} running, {len(progress.paused)} paused"
    )


def rate_line(progress: SearchProgress, elapsed: float) -> str:
    """Return `0.52 epochs/s, 12:05 elapsed, about 1:20:00 left`."""
    if progress.first_start is None:
        return f"waiting for the first trial ..., {format_clock(elapsed)} elapsed"
    left, budget = progress.seconds_left(), progress.budget_seconds
    if budget is not None and (left is None or budget - elapsed < left):
        ahead = f"{format_clock(max(0.0, budget - elapsed))} left of the time budget"
    elif left is None:
        return f"waiting for the first epoch ..., {format_clock(elapsed)} elapsed"
    else:
        ahead = f"about {format_clock(left)} left"
    rate = progress.epochs_a_second()
    pace = f"{rate:.2f} epochs/s" if rate >= 0.1 else f"{60 * rate:.2f} epochs/min"
    return f"{pace}, {format_clock(elapsed)} elapsed, {ahead}"


def best_text(best: BestSoFar, metric: str) -> str:
    """Return `best so far: 0.7812 by trial 3 in epoch 4, found 14:02:31`, with the date if it is not recent."""
    name = "" if metric == "accuracy" else f"{METRICS[metric].title} "
    value = f"{name}{METRICS[metric].oriented(best.epoch.score):.4f}"
    text = f"best so far: {value} by trial {best.trial} in epoch {best.epoch.epoch}"
    if best.found is None:
        return text
    recent = time.time() - best.found < 20 * 3600
    return f"{text}, found {time.strftime('%H:%M:%S' if recent else '%Y-%m-%d %H:%M', time.localtime(best.found))}"


def failures(failed: Mapping[int, str]) -> list[str]:
    """Return a line for each of the first MAX_FAILURES failed trials, and the number of the others."""
    lines = [f"trial {number} failed: {printable(error)}" for number, error in list(failed.items())[:MAX_FAILURES]]
    left = len(failed) - MAX_FAILURES
    return lines + ([f"and {left} more failed"] if left > 0 else [])


def wrap_titled(text: str, width: int) -> str:
    """Wrap lines with a title of TITLE_WIDTH characters each; continuation lines are indented by that width."""
    width, indent = max(width, 2 * TITLE_WIDTH), " " * TITLE_WIDTH
    lines = (textwrap.fill(line, width, subsequent_indent=indent, break_on_hyphens=False) for line in text.splitlines())
    return "\n".join(lines)
