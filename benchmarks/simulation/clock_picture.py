"""Draw the virtual clock of a real study for docs/concepts/virtual-clock.md.

    python -m benchmarks.simulation.clock_picture results/snippets-quick    some seconds

Each bar is a job: a virtual worker trains a trial to a rung or to its end, in virtual time. The same clock makes the
decisions again from the study's journal.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt

from benchmarks.results import new_parser
from core.config import TrialConfig
from core.data.load import load_corpus
from tuning.journal.records import TrialRecord, read_study
from tuning.scheduling.asha import FAILED, Asha
from tuning.scheduling.study_config import StudyConfig
from tuning.scheduling.virtual_clock import VirtualJob
from tuning.scheduling.virtual_cost import CorpusShape, virtual_cost
from tuning.space.space import STUDY_FIELDS, Space

PICTURE = Path(__file__).parents[2] / "docs/images/virtual-clock.svg"
SHADES = ("#c6dbef", "#6baed6", "#2171b5", "#08306b")
"""Colours of a job's last epoch: first rung, second rung, and so on to the last epoch."""


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("study", type=Path, help="Folder of a complete study.")
    attributes, records = read_study(parser.parse_args().study)
    config = config_of(attributes["spec"], len(records))
    shape = CorpusShape.of(load_corpus(**attributes["spec"]["data"]))
    picture(decisions(config, shape, records), config).save(PICTURE)
    print(f"wrote {PICTURE}")


def config_of(spec: Mapping[str, Any], n_trials: int) -> StudyConfig:
    """Return the configuration of a study, without its sampler and first trials."""
    rule = spec["stopping"]
    return StudyConfig(
        space=Space.from_dict(spec["space"]),
        n_trials=n_trials,
        stopping=Asha(grace=rule["grace"], reduction=rule["reduction"]) if rule else None,
        **{name: spec[name] for name in (*STUDY_FIELDS, "parallelism", "lag", "baseline")},
    )


def decisions(config: StudyConfig, shape: CorpusShape, records: Sequence[TrialRecord]) -> list[VirtualJob]:
    """Return all decisions of the study's clock."""
    cost = virtual_cost(config.space, config.shared_settings, shape)

    def start(trial: int) -> float | None:
        record = records[trial]
        return None if record.copy_of is not None else cost(TrialConfig.from_dict(record.config))

    def score(trial: int, epoch: int) -> float:
        epochs = records[trial].epochs[:epoch]
        if len(epochs) < epoch and records[trial].error:
            return FAILED
        return max(each.score for each in epochs)

    clock, jobs = config.clock(start=start, score=score), []
    while isinstance(job := clock.next_job(), VirtualJob):
        jobs.append(job)
    return jobs


def rows_of(jobs: Sequence[VirtualJob], workers: int) -> list[int]:
    """Return the virtual worker of each job: the first one that is free at its begin."""
    free = [0.0] * workers
    rows = []
    for job in jobs:
        row = min((row for row in range(workers) if free[row] <= job.begin), key=lambda row: (-free[row], row))
        free[row] = job.end
        rows.append(row)
    return rows


def picture(jobs: Sequence[VirtualJob], config: StudyConfig) -> alt.LayerChart:
    """Return a bar for each job with the number of its trial, and below it the epoch at which it ends."""
    stops = [*(config.stopping.rungs(config.epochs) if config.stopping else ()), config.epochs]
    rows = [
        {"worker": row + 1, "begin": job.begin, "end": job.end, "trial": str(job.trial), "last": job.last}
        for job, row in zip(jobs, rows_of(jobs, config.parallelism), strict=True)
    ]
    base = alt.Chart(alt.Data(values=rows)).encode(y=alt.Y("worker:O", title="virtual worker"))
    bars = base.mark_bar(stroke="#fff").encode(
        x=alt.X("begin:Q", title="virtual time, in epochs of the median configuration"),
        x2="end:Q",
        color=alt.Color(
            "last:O", title="to epoch", scale=alt.Scale(domain=stops, range=SHADES[: len(stops)]), sort="ascending"
        ),
    )
    texts = base.transform_filter("datum.end - datum.begin > 0.3").encode(x="middle:Q")
    texts = texts.transform_calculate(middle="(datum.begin + datum.end) / 2")
    light = (
        alt.when(alt.datum.last > stops[min(1, len(stops) - 1)]).then(alt.value("#fff")).otherwise(alt.value("#222"))
    )
    trials = texts.mark_text(dy=-4).encode(text="trial:N", color=light)
    lasts = texts.mark_text(dy=9, fontSize=9).encode(text="last:O", color=light)
    return alt.layer(bars, trials, lasts).properties(width=860, height=40 * config.parallelism, background="#fff")


if __name__ == "__main__":
    main()
