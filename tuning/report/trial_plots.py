"""Plots of how the trials went: accuracy by number, accuracy by epoch, and the winner's losses."""

from itertools import accumulate

from core.errors import UserError
from tuning.analysis.random_search_curve import random_search_curve
from tuning.report.axes import NumericAxis
from tuning.report.facts import Figure, ReportData
from tuning.report.svg import _LAYERS, ACCURACY, NOTHING, Panel, PlotPoint, draw_marks, drawing, element, line
from tuning.scheduling.asha import Asha

SAYS = (
    "The best validation accuracy to expect from a random search of this space with so many trials, made from the "
    "trials that were drawn at random: unbiased (line; Tang et al. 2020) and plug-in (dashed; Dodge et al. 2019), with "
    "the band in which eight of ten such searches end."
)


def history(facts: ReportData) -> Figure:
    """Each trial's accuracy by its number, and the best so far."""
    scores = sorted((row.trial, row.val_accuracy) for row, _ in facts.ranked if row.val_accuracy is not None)
    panel = Panel(
        x=NumericAxis.over((record.number for record in facts.records), whole=True, margin=0.02),
        y=NumericAxis.over((score for _, score in scores), margin=0.06),
    )
    marks = [(facts.kind(facts.records[number]), panel.at(number, score), number) for number, score in scores]
    failed = [record.number for record in facts.shown if record.state == "FAIL"]
    marks += [("failed", (panel.across(panel.x.position(number)), panel.bottom - 5), number) for number in failed]
    best = accumulate((score for _, score in scores), max)
    steps: list[PlotPoint] = []  # level until the next trial, then up
    for (number, _), height in zip(scores, best, strict=True):
        x, y = panel.at(number, height)
        steps += [*((x, before) for _, before in steps[-1:]), (x, y)]
    picture = drawing(
        f"{len(scores)} trials by number and {ACCURACY}; the table has the values",
        panel.frame("trial", ACCURACY),
        line(steps, class_="best-so-far"),
        *draw_marks(marks),
    )
    return Figure(
        key="history",
        title="Optimisation history",
        says=f"Each trial's {ACCURACY} (of its best epoch) by number; the line is the best so far. "
        "Failed trials stand on the lower edge.",
        drawings=(picture,) if scores else (),
        legend=("winner", "baseline", "done", "stopped", "failed"),
        notes=() if scores else (NOTHING,),
    )


def curves(facts: ReportData) -> Figure:
    """Every trial's accuracy by epoch, and the rungs at which trials were stopped."""
    trained = [record for record in facts.shown if record.epochs]
    epochs = facts.spec["epochs"]
    panel = Panel(
        x=NumericAxis.over([1, epochs], whole=True, margin=0.02),
        y=NumericAxis.over((epoch.val_accuracy for record in trained for epoch in record.epochs), margin=0.03),
    )
    rule = facts.spec["stopping"]
    stopping = f"At each rung one trial in {rule['reduction']} goes on." if rule else "This study stops no trial early."
    lines, ends = [], []
    for record in sorted(trained, key=lambda record: _LAYERS.index(facts.kind(record))):
        kind = facts.kind(record)
        points = [panel.at(epoch.epoch, epoch.val_accuracy) for epoch in record.epochs]
        lines.append(line(points, class_=f"curve {kind}", data_t=record.number))
        if kind in ("stopped", "winner", "baseline") or len(points) == 1:
            ends.append((kind, points[-1], record.number))
    picture = drawing(
        f"{len(trained)} learning curves over up to {epochs} epochs",
        panel.frame("epoch", ACCURACY),
        *(panel.rule(rung, "rung", f"rung {rung}") for rung in rungs(facts)),
        *lines,
        *draw_marks(ends),
    )
    return Figure(
        key="curves",
        title="Learning curves",
        says=f"{ACCURACY.capitalize()} by epoch, a line for each trial; a cross ends one that was stopped. {stopping}",
        drawings=(picture,) if trained else (),
        legend=("winner", "baseline", "done", "stopped"),
        notes=() if trained else ("No epoch has ended yet.",),
    )


def losses(facts: ReportData) -> Figure:
    """The winner's training and validation loss."""
    record = facts.records[facts.winner.trial] if facts.winner else None
    epochs = record.epochs if record else ()
    panel = Panel(
        x=NumericAxis.over([1, facts.spec["epochs"]], whole=True, margin=0.02),
        y=NumericAxis.over((loss for epoch in epochs for loss in (epoch.train_loss, epoch.val_loss)), margin=0.05),
    )
    picture = [panel.frame("epoch", "mean cross-entropy (nats)")]
    if record and record.best:
        for name in ("train", "val"):
            points = [panel.at(epoch.epoch, getattr(epoch, f"{name}_loss")) for epoch in epochs]
            picture.append(line(points, class_=f"loss {name}"))
            picture += [element("circle", cx=x, cy=y, r=2.5, class_=f"loss {name}") for x, y in points]
        picture.append(panel.rule(record.best.epoch, "rung", "best epoch"))
    return Figure(
        key="losses",
        title="The winner's losses",
        says="Training loss (dashed; with dropout) and validation loss by epoch. Validation loss that rises while "
        "training loss falls is overfitting; the epoch with the best accuracy is the one that counts.",
        drawings=(drawing("training and validation loss of the best trial by epoch", *picture),) if epochs else (),
        notes=() if epochs else (NOTHING,),
    )


def rungs(facts: ReportData) -> list[int]:
    """The epochs after which the study's rule may stop a trial; none where it stops none."""
    rule = facts.spec["stopping"]
    if rule is None:
        return []
    return Asha(grace=rule["grace"], reduction=rule["reduction"]).rungs(facts.spec["epochs"])


def budget(facts: ReportData) -> Figure:
    """The curve of `best --expected`."""
    try:
        curve = random_search_curve(facts.records)
    except UserError as error:
        return Figure(key="expected", title="Expected best", says=SAYS, drawings=(), notes=(str(error),))
    says = f"{SAYS} It is made from {curve.random_trials} trials; {curve.failed} more failed."
    steps = curve.budgets
    panel = Panel(
        x=NumericAxis.over((step.trials for step in steps), whole=True, margin=0.02),
        y=NumericAxis.over((edge for step in steps for edge in (step.low, step.high, step.plugin)), margin=0.05),
    )
    band = [panel.at(step.trials, step.high) for step in steps]
    band += [panel.at(step.trials, step.low) for step in reversed(steps)]
    last = steps[-1]
    picture = drawing(
        f"expected best {ACCURACY} of 1 to {last.trials} random trials, {steps[0].unbiased:.4f} to {last.unbiased:.4f}",
        panel.frame(f"trials (of {last.epochs / last.trials:.1f} epochs each)", f"expected best {ACCURACY}"),
        line(band, class_="band"),
        line([panel.at(step.trials, step.plugin) for step in steps], class_="expected plugin"),
        line([panel.at(step.trials, step.unbiased) for step in steps], class_="expected"),
    )
    return Figure(key="expected", title="Expected best", says=says, drawings=(picture,))
