"""StudyCharts: the charts of a study for Python users, each drawn when its method is called."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from core.errors import UserError
from tuning.report.charts import AnyChart
from tuning.report.command import study_chart_data
from tuning.report.figures import CHARTS, reasons

_DRAW = {draw.__name__: draw for draw in CHARTS}


class StudyCharts:
    """Charts of a study: a method for each entry of CHARTS, such as `history()`, which returns an Altair chart."""

    def __init__(self, folder: Path) -> None:
        """Refer to the study in `folder`, which is read at each call."""
        self._folder = folder

    def __dir__(self) -> list[str]:
        return list(_DRAW)

    def __repr__(self) -> str:
        return f"charts of study {self._folder.name!r}: {', '.join(f'{name}()' for name in _DRAW)}"

    def __getattr__(self, name: str) -> Callable[[], AnyChart]:
        if name not in _DRAW:
            raise AttributeError(f"there is no chart {name!r}; choose from {', '.join(_DRAW)}")
        method = partial(self._draw, name)
        method.__doc__ = _DRAW[name].__doc__
        return method

    def _draw(self, name: str) -> AnyChart:
        """Return a chart.

        Raises:
            UserError: There is nothing to draw yet; the message says why.
        """
        data = study_chart_data(self._folder)
        if why := reasons(data).get(name):
            raise UserError(f"there is no chart {name} of study {self._folder.name!r}: {why}")
        return _DRAW[name](data)
