"""The summary of `confirm` in words, as a table and as JSON."""

import dataclasses
import json
import math
from collections.abc import Sequence

from core.io.text import printable
from core.metrics import METRICS, Metric
from tuning.analysis.assessment import MAJORITY, PLAIN
from tuning.analysis.ranking import BASELINE_NOTE
from tuning.confirm.summary import MIN_IN_CLASS, ConfirmRow, Folds, Summary
from tuning.console import in_callers_terms
from tuning.formatting import enumerated, text_table
from tuning.journal.records import describe_plain


def render_summary(summary: Summary, form: str) -> str:
    """Return the summary as `table` or `json`."""
    if form == "json":
        content = {**dataclasses.asdict(summary), "verdict": verdict(summary), "notes": summary_notes(summary)}
        return json.dumps(content, indent=2)
    head = ("rank", "trial", "seeds", "val", "test", "sd", _worse(summary), "", "tied", "params", "sec")
    return "\n".join(
        [*text_table(head, [_cells(row) for row in summary.rows]), "", *verdict(summary), "", *summary_notes(summary)]
    )


def _worse(summary: Summary) -> str:
    """Return the title of the differences to the first configuration, which is the best one."""
    return "less" if METRICS[summary.metric].higher_is_better else "more"


def verdict(summary: Summary) -> list[str]:
    """Return sentences on which configurations are tied, and the gain over the baseline."""
    first, *others = summary.rows
    ranked = [row for row in others if row.rank is not None]
    metric = METRICS[summary.metric]
    lines = [_among(first, ranked, metric)] if ranked else []
    lines += _over(summary, "the baseline", next((row for row in others if row.baseline), None))
    if first.baseline:
        lines.append("the baseline is the search's best: no other trial was better in the search")
    lines += _over(summary, "the plain baseline", next((row for row in others if row.trial == PLAIN), None))
    return [*lines, *(_over_folds(folds, metric) for folds in summary.folds)]


def _among(first: ConfirmRow, others: Sequence[ConfirmRow], metric: Metric) -> str:
    """Return a text such as `trials 7, 2 and 4 are tied; trial 7 is better than trial 3`."""
    compared = [(row, row.difference) for row in others if row.difference is not None]
    if not compared:
        return "too few runs succeeded to compare the configurations"
    tied = [first.trial, *(row.trial for row, difference in compared if difference.tied)]
    worse = [row.trial for row, difference in compared if not difference.tied and difference.mean > 0]
    parts = []
    if len(tied) > 1:
        parts.append(f"{enumerated('trial', tied)} are tied")
    if worse:
        parts.append(f"trial {first.trial} is better than {enumerated('trial', worse)}")
    for row, difference in compared:
        if not difference.tied and difference.mean < 0:
            apart = _gap(metric, -difference.mean, difference.half)
            parts.append(f"trial {row.trial} is better than trial {first.trial} by {apart}")
    return "; ".join(parts)


def _over(summary: Summary, name: str, row: ConfirmRow | None) -> list[str]:
    """Return whether the search's best is better than the row of this name, if there is one."""
    if row is None:
        return []
    difference, metric = row.difference, METRICS[summary.metric]
    if difference is None:
        return [f"too few runs succeeded to compare the search's best with {name}"]
    if difference.tied:
        what = f"the search is not shown to be better than {name}: {_gap(metric, difference.mean, difference.half)}"
        if abs(difference.mean) > difference.half:
            what = f"{what} (p {difference.p:.2g} after Holm's correction)"
    elif difference.mean > 0:
        what = f"the search is better than {name} by {_gap(metric, difference.mean, difference.half)}"
    else:
        what = f"{name} is better than the search's best by {_gap(metric, -difference.mean, difference.half)}"
    has_few = difference.pairs == 2 and max(len(each.seeds) + len(each.errors) for each in summary.rows) == 2
    helps = difference.tied and has_few and summary.rare_part < 1  # at 1, every difference may be chance
    few = in_callers_terms(", which are few; pass --seeds 5 to add more") if helps else ""
    if difference.sentences_half is None:
        return [f"{what}, over {difference.pairs} seeds{few}"]
    split = {"test": "test", "val": "validation"}[summary.compared]
    chance = _amount(metric, difference.sentences_half)
    sentences = f"(of that, chance in the {summary.sentences:,} {split} sentences is +- {chance})"
    return [f"{what}, over {difference.pairs} seeds{few}", sentences]


def _over_folds(folds: Folds, metric: Metric) -> str:
    part = "" if len(folds.values) == folds.folds else f"{len(folds.values)} of "
    text = (
        f"{_name(folds.trial)} over {part}{folds.folds} folds: test {metric.title} {folds.mean:.4f}, "
        f"standard deviation {folds.sd:.4f}"
    )
    if folds.interval is None:
        return text
    return f"{text}; all {folds.sentences:,} sentences: {folds.interval.low:.4f} to {folds.interval.high:.4f} (95%)"


def summary_notes(summary: Summary) -> list[str]:
    """Return lines that explain the table."""
    comparisons = sum(row.difference is not None and isinstance(row.trial, int) for row in summary.rows)
    holm = f" after Holm's correction for {comparisons} comparison{'s' * (comparisons != 1)}" if comparisons else ""
    if comparisons and any(row.trial == PLAIN and row.difference is not None for row in summary.rows):
        holm += "; plain is compared on its own"
    lines = []
    if summary.metric != "accuracy":
        lines.append(
            f"val, test: {METRICS[summary.metric].title} on these splits; sd: its standard deviation over seeds"
        )
    if any(row.baseline for row in summary.rows):
        lines.append(BASELINE_NOTE)
    if any(row.recommended for row in summary.rows):
        lines.append("+ recommended by the search")
    differences = [row.difference for row in summary.rows if row.difference is not None]
    if differences:
        alone = any(difference.sentences_half is None for difference in differences)
        lines += [
            f"{_worse(summary)}: difference to the first configuration over the same seeds, +- half the 95% interval",
            "of the seeds alone, without sentences" if alone else "of seeds and sentences together",
            f"tied: t test, p at least 0.05{holm}",
        ]
    if summary.rare_part:
        few = f"for classes with fewer than {MIN_IN_CLASS} sentences, which may be chance"
        lines.append(f"+- includes {summary.rare_part:.3f} {few}")
    if summary.compared == "val" and summary.sentences is not None:
        has_test = any(row.test_accuracy is not None for row in summary.rows)
        title = METRICS[summary.metric].title
        why = f"{title} is undefined on the test split" if has_test else "there is no test split"
        lines.append(f"{why}: compared on the validation split, on which these configurations were chosen")
    if summary.folds:
        lines.append("the search used most of the folds' test sentences, so this figure is a little optimistic")
    if any(row.trial == PLAIN for row in summary.rows):
        lines.append(f"plain: {describe_plain(summary.plain_sentences)}")
    lines += [f"{_name(row.trial)} failed: {printable(error)}" for row in summary.rows for error in row.errors]
    lines += [f"{run} is missing, its worker died or failed; run the same command again" for run in summary.missing]
    return lines


def _name(trial: int | str) -> str:
    names = {PLAIN: "the plain baseline", MAJORITY: "the majority class"}
    return names[trial] if isinstance(trial, str) else f"trial {trial}"


def _cells(row: ConfirmRow) -> tuple[str, ...]:
    difference = row.difference
    return (
        "-" if row.rank is None else str(row.rank),
        f"{row.trial}{'*' * row.baseline}{'+' * row.recommended}",
        str(len(row.seeds) or "-"),
        _share(row.val_metric),
        _share(row.test_metric),
        _share(row.sd),
        "-" if difference is None else f"{difference.mean:z.3f}",
        "" if difference is None else f"+- {difference.half:.3f}",
        "-" if difference is None else "yes" if difference.tied else "no",
        "-" if row.n_parameters is None else _count(row.n_parameters),
        "-" if row.seconds is None else f"{row.seconds:.1f}",
    )


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _count(number: int) -> str:
    """Return a number in few characters: 1,234,567 -> `1.23M`."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= 0.9995 * size:  # 999,600 is 1M
            return f"{number / size:.3g}{letter}"
    return str(number)


def _gap(metric: Metric, mean: float, half: float) -> str:
    unit = "" if math.isinf(metric.high) else " points"
    return f"{_amount(metric, mean)} +- {_amount(metric, half)}{unit}"


def _amount(metric: Metric, value: float) -> str:
    """Return a difference of the metric: in points, unless it has no upper bound."""
    return f"{value:z.3f}" if math.isinf(metric.high) else f"{100 * value:z.1f}"
