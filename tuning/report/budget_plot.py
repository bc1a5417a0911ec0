"""The expected best accuracy of a random search against its budget."""

from markupsafe import Markup

from core.errors import UserError
from tuning.analysis.random_search_curve import Expected, expected
from tuning.report.axes import Numbers
from tuning.report.facts import Facts, Figure
from tuning.report.svg import Panel, drawing, line
from tuning.report.trial_plots import ACCURACY

SAYS = (
    "The best validation accuracy to expect from a random search of this space with so many trials, made from the "
    "trials that were drawn at random: unbiased (line; Tang et al. 2020) and plug-in (dashed; Dodge et al. 2019), with "
    "the band in which eight of ten such searches end."
)


def budget(facts: Facts) -> Figure:
    """The curve of `best --expected`."""
    try:
        curve = expected(facts.records, facts.spec)
    except UserError as error:
        return Figure(key="expected", title="Expected best", says=SAYS, drawings=(), notes=(str(error),))
    says = f"{SAYS} It is made from {curve.random_trials} trials; {curve.failed} more failed."
    return Figure(key="expected", title="Expected best", says=says, drawings=(_drawn(curve),))


def _drawn(curve: Expected) -> Markup:
    steps = curve.budgets
    panel = Panel(
        x=Numbers.over((step.trials for step in steps), whole=True, margin=0.02),
        y=Numbers.over((edge for step in steps for edge in (step.low, step.high, step.plugin)), margin=0.05),
    )
    band = [panel.at(step.trials, step.high) for step in steps]
    band += [panel.at(step.trials, step.low) for step in reversed(steps)]
    last = steps[-1]
    return drawing(
        f"expected best {ACCURACY} of 1 to {last.trials} random trials, {steps[0].unbiased:.4f} to {last.unbiased:.4f}",
        panel.frame(f"trials (of {last.epochs / last.trials:.1f} epochs each)", f"expected best {ACCURACY}"),
        line(band, class_="band"),
        line([panel.at(step.trials, step.plugin) for step in steps], class_="expected plugin"),
        line([panel.at(step.trials, step.unbiased) for step in steps], class_="expected"),
    )
