"""Draw the virtual clock of a real study for docs/virtual-clock.md.

    python -m benchmarks.simulation.clock_picture results/snippets-quick

Each bar is a job: a trial that a virtual worker trains to a rung or to its end, in virtual time. The decisions are made
again from the study's journal, by the same clock.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from core.config import TrialConfig
from core.data.load import load_corpus
from tuning.journal.records import TrialRecord, read_study
from tuning.report.svg import drawing, element, text
from tuning.scheduling.asha import FAILED, Asha
from tuning.scheduling.study import space_from_spec
from tuning.scheduling.virtual_clock import VirtualClock, VirtualJob
from tuning.scheduling.virtual_cost import CorpusShape, virtual_cost

PICTURE = Path(__file__).parents[2] / "docs/virtual-clock.svg"
WIDTH, LEFT, TOP, ROW = 960.0, 80.0, 12.0, 34.0
SHADES = ("#c6dbef", "#6baed6", "#2171b5", "#08306b")
"""Colours of a job's last epoch: first rung, second rung, and so on to the last epoch."""
STYLE = (
    "text{font:12px sans-serif;fill:#222}.light{fill:#fff}.small{font-size:10px;fill:#555}.middle{text-anchor:middle}"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="Folder of a complete study.")
    attributes, records = read_study(parser.parse_args().study)
    PICTURE.write_text(str(picture(decisions(attributes["spec"], records), attributes["spec"])) + "\n")
    print(f"wrote {PICTURE}")


def decisions(spec: Mapping[str, Any], records: Sequence[TrialRecord]) -> list[VirtualJob]:
    """Return all decisions of the study's clock."""
    corpus = load_corpus(**spec["data"])
    shared = {name: spec[name] for name in ("epochs", "patience", "precision", "seed")}
    cost = virtual_cost(space_from_spec(spec), shared, CorpusShape.of(corpus))

    def start(trial: int) -> float | None:
        record = records[trial]
        return None if record.copy_of is not None else cost(TrialConfig.from_dict(record.config))

    def score(trial: int, epoch: int) -> float:
        epochs = records[trial].epochs[:epoch]
        if len(epochs) < epoch and records[trial].error:
            return FAILED
        return max(each.val_accuracy for each in epochs)

    clock = VirtualClock(
        n_trials=len(records),
        epochs=spec["epochs"],
        parallelism=spec["parallelism"],
        lag=spec["lag"],
        rule=rule_of(spec),
        start=start,
        score=score,
    )
    jobs = []
    while isinstance(job := clock.next_job(), VirtualJob):
        jobs.append(job)
    return jobs


def rule_of(spec: Mapping[str, Any]) -> Asha | None:
    """Return the study's rule."""
    rule = spec["stopping"]
    return Asha(grace=rule["grace"], reduction=rule["reduction"]) if rule else None


def rows_of(jobs: Sequence[VirtualJob], workers: int) -> list[int]:
    """Return the virtual worker of each job: the first one that is free at its begin."""
    free = [0.0] * workers
    rows = []
    for job in jobs:
        row = min((row for row in range(workers) if free[row] <= job.begin), key=lambda row: (-free[row], row))
        free[row] = job.end
        rows.append(row)
    return rows


def picture(jobs: Sequence[VirtualJob], spec: Mapping[str, Any]) -> Markup:
    """Return the SVG."""
    workers, rule = spec["parallelism"], rule_of(spec)
    stops = [*(rule.rungs(spec["epochs"]) if rule else ()), spec["epochs"]]
    span = max(job.end for job in jobs)
    scale = (WIDTH - LEFT - 10) / span
    bottom = TOP + workers * (ROW + 14)
    parts = [element("style", STYLE), element("rect", width=WIDTH, height=bottom + 46, fill="#fff")]
    for row in range(workers):
        parts.append(text(f"worker {row + 1}", 8.0, TOP + row * (ROW + 14) + 21))
    for job, row in zip(jobs, rows_of(jobs, workers), strict=True):
        parts += bar(job, LEFT + job.begin * scale, TOP + row * (ROW + 14), (job.end - job.begin) * scale, stops)
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100) if span / step <= 12)
    for tick in range(0, int(span) + 1, step):
        parts.append(text(str(tick), LEFT + tick * scale, bottom + 14, "small middle"))
    parts.append(
        text(
            "virtual time, in epochs of the median configuration",
            LEFT + (WIDTH - LEFT) / 2,
            bottom + 28,
            "small middle",
        )
    )
    for at, (stop, shade) in enumerate(zip(stops, SHADES, strict=False)):
        x = LEFT + 120.0 * at
        parts.append(element("rect", x=x, y=bottom + 32, width=12.0, height=10.0, fill=shade, stroke="#555"))
        parts.append(text(f"to epoch {stop}", x + 17, bottom + 41, "small"))
    label = f"{len(jobs)} jobs on {workers} virtual workers: first epochs, promotions and the baseline"
    return Markup('<svg xmlns="http://www.w3.org/2000/svg" ') + drawing(
        label, *parts, width=WIDTH, height=bottom + 46
    ).removeprefix("<svg ")


def bar(job: VirtualJob, x: float, y: float, width: float, stops: Sequence[int]) -> list[Markup]:
    """Return a job's bar with the number of its trial, and the epoch at which it ends below."""
    at = stops.index(job.last)
    shade = SHADES[min(at, len(SHADES) - 1)]
    drawn = [element("rect", x=x, y=y, width=max(width, 1.0), height=ROW, fill=shade, stroke="#fff")]
    if width > 14:
        drawn.append(text(str(job.trial), x + width / 2, y + 21, "middle light" if at > 1 else "middle"))
        drawn.append(text(f"{job.last}", x + width / 2, y + ROW + 10, "small middle"))
    return drawn


if __name__ == "__main__":
    main()
