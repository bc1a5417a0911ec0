"""Studies: search spaces, the ordered search on Ray Tune, its journal, and the tables and models that follow from it.

From Python, `search` runs a study and `load_study` reads one. They are imported at the first access.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuning.api import Study as Study
    from tuning.api import load_study as load_study
    from tuning.api import search as search

__all__ = ["Study", "load_study", "search"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "IProgress not found")  # tqdm's, in a notebook; nothing here uses its bars
        import tuning.api

    return getattr(tuning.api, name)


def __dir__() -> list[str]:
    return __all__
