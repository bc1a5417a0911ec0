"""Fixtures of all tests."""

import gc
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# A shared machine may pause any example for longer than Hypothesis's 200 ms.
settings.register_profile("sentune", deadline=None)
settings.load_profile("sentune")


LONGEST = (
    "system/test_cluster.py",
    "test_pages.py",
    "system/test_page.py",
    "system/test_wheel.py",
    "system/test_python_api.py",
    "system/test_crashes.py",
    "system/test_workers.py",
    "system/test_main_job.py",
    "system/test_order.py",
    "system/test_start.py",
    "system/test_confirm.py",
    "system/test_mlflow.py",
    "tuning/scheduling/test_suggester.py",
    "core/training/test_learner.py",
    "system/test_watching.py",
    "system/test_folds.py",
    "tuning/report/test_charts.py",
    "system/test_data.py",
    "core/training/test_loop.py",
    "system/test_serve_page.py",
    "tuning/cli/test_bad_inputs.py",
    "system/test_memory.py",
    "tuning/journal/test_tampering.py",
    "system/test_ensemble.py",
)
"""Files by the time that their tests take."""


def pytest_configure() -> None:
    """Give Ray's workers the priority of the tests: with a niceness of 15, a busy core leaves them 3% of its time.

    The developer's own studies, MLflow server and proxy are not used.
    """
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  # this is its name
    for name in ("SENTUNE_RESULTS", "MLFLOW_TRACKING_URI"):
        os.environ.pop(name, None)
    direct = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    os.environ["no_proxy"] = ",".join(filter(None, (direct, "127.0.0.1", "localhost")))


@pytest.hookimpl(trylast=True)  # after pytest-randomly
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take minutes come first: side by side, the short ones fill what is left at the end."""
    rank = {name: at for at, name in enumerate(LONGEST)}

    def place(item: pytest.Item) -> int:
        name = item.path.relative_to(Path(__file__).parent).as_posix()
        return rank.get(name, len(rank) + (not name.startswith("system/")))

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """What was imported until now stays: the collector need not look through it again and again.

    pytest puts its handlers on each logger that does not propagate, three times a test: torch has more than 40.
    """
    gc.collect()
    gc.freeze()
    for name, logger in logging.root.manager.loggerDict.items():
        if isinstance(logger, logging.Logger) and name.split(".")[0] == "torch":
            logger.propagate = True


@pytest.fixture
def no_default_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of the default cache is a file: only `--cache-dir` works."""
    monkeypatch.setenv("SENTUNE_CACHE", __file__)


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_is_heard() -> None:
    """A shell that starts the tests in the background makes them, and all that they start, ignore Ctrl-C."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _the_disk_is_not_awaited() -> Iterator[None]:
    """No test loses power, so what this process writes need not have reached the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)
        yield
