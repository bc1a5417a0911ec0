"""A damaged file with a search space."""

import random
from pathlib import Path

import pytest

from tests.support.damage import OF_ANY_LINES
from tests.support.expressions import refusal
from tuning.space.load import load_space
from tuning.space.presets import PRESETS


@pytest.mark.slow
@pytest.mark.parametrize("times", [60, pytest.param(5000, marks=[pytest.mark.chaos, pytest.mark.timeout(1800)])])
def test_a_damaged_space_file_is_read_or_refused_in_one_line(tmp_path: Path, times: int) -> None:
    lines, path = PRESETS["default"].encode().splitlines(keepends=True), tmp_path / "space.yaml"
    refusals = []
    for at in range(times):
        draw = random.Random(times + at)
        path.write_bytes(b"".join(draw.choice(OF_ANY_LINES)(lines, draw)))
        refusals.append(refusal(load_space, str(path)))
    assert not [each for each in refusals if "\n" in each]
    assert times // 5 < sum(map(bool, refusals)) < times
