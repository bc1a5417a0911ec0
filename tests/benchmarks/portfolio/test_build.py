"""The choice and order of the portfolio's settings, and its file."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.portfolio.build import choose_all, entry, greedy, holds, normalised_gaps, to_text
from core.config import TrialConfig
from tests.support.portfolio_recording import POOLINGS, recording
from tuning.space.load import load_space


def test_a_gap_is_0_for_the_best_and_1_for_the_median_and_below() -> None:
    scores = np.array([[0.5, 0.7, 0.6, 0.9, 0.1], [0.2, 0.2, 0.2, 0.2, 0.2]])
    assert normalised_gaps(scores)[0] == pytest.approx([1, 2 / 3, 1, 0, 1])
    assert normalised_gaps(scores)[1].tolist() == [0] * 5


def test_each_choice_makes_the_mean_gap_as_small_as_possible() -> None:
    gaps = np.array([[1, 0.3, 0.0, 0.9], [1, 0.3, 0.9, 0.0]])
    assert greedy(gaps, [1, 2, 3], [0], 2) == [1, 2]
    assert greedy(gaps, [2, 3], [0, 1], 2) == [2, 3]


def test_a_new_round_begins_if_no_gap_becomes_smaller() -> None:
    gaps = np.array([[1, 0.0, 0.2, 0.1], [1, 0.0, 0.1, 0.3]])
    assert greedy(gaps, [1, 2, 3], [0], 5) == [1, 2, 3]


@pytest.mark.slow
def test_the_first_choices_have_the_pooling_of_each_set_and_quick_has_its_own(tmp_path: Path) -> None:
    found = recording(tmp_path, count=100)
    first, quick = choose_all(found, 5)
    assert len(first) == 5
    assert {found.config(number).pooling for number in first[:3]} == set(POOLINGS.values())
    assert not set(first) & set(quick)
    assert quick
    assert all(holds(load_space("quick"), found, number) for number in quick)
    assert any(not holds(load_space("quick"), found, number) for number in first)


def test_an_entry_has_the_searched_settings_with_three_digits(tmp_path: Path) -> None:
    found = recording(tmp_path)
    written = entry(found, 5)
    assert "clip_norm" not in written
    assert written.keys() <= found.settings[5].keys()
    assert TrialConfig(**written).fc_dropout == pytest.approx(found.config(5).fc_dropout, rel=5e-3)
    assert len(f"{written['fc_dropout']}") <= 5


def test_the_file_has_one_line_per_setting() -> None:
    text = to_text({"sets": ["one"]}, [{"n_layers": 1}, {"n_layers": 2}])
    assert json.loads(text) == {"made": {"sets": ["one"]}, "settings": [{"n_layers": 1}, {"n_layers": 2}]}
    assert text.count("\n") == 7
