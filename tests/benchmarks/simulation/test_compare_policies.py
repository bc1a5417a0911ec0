"""The policies that are compared, and their table."""

import argparse
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.simulation.compare_policies import DEFAULT, compare, main_ways, other_ways
from tests.support.curves import table


def test_each_alternative_differs_from_the_default_in_one_setting() -> None:
    default = main_ways(60, 2)[DEFAULT]
    others = other_ways(default)
    assert default not in others.values()
    assert "default, lag 0" in others


@pytest.mark.slow
def test_the_default_needs_fewer_epochs_than_random_search(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = argparse.Namespace(workers=2, grid=False, repeats=1)
    with ThreadPoolExecutor(1) as pool:
        random, default = compare(table(25), arguments, pool)  # type: ignore[arg-type]
    assert default < random
    assert DEFAULT in capsys.readouterr().out
