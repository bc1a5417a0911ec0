"""Recorded curves, and tables that are drawn from them."""

import gzip
import json
import statistics
from pathlib import Path

import pytest

from benchmarks.simulation.curves import Places, many, read_table
from tests.support.curves import SPACE, table


def test_a_recorded_file_is_read_by_space_without_curves_that_became_nan(tmp_path: Path) -> None:
    curve = table(3).curves[1]
    trial = {"config": dict(curve.config), "seconds": 2.0, "curve": [[0.5, 0.7], [0.4, 0.6]]}
    content = {
        "spaces": {"notebook": SPACE.to_dict()},
        "epochs": 2,
        "curves": [
            {"space": "notebook", **trial},
            {"space": "default", **trial},
            {"space": "notebook", **trial, "curve": [[0.9, 0.1]]},
        ],
    }
    path = tmp_path / "curves.json.gz"
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    read = read_table(path, "notebook")
    assert [(c.params, c.seconds, c.scores) for c in read.curves] == [(curve.params, 2.0, (0.5, 0.5))]
    assert (read.best, read.epochs) == (0.5, 2)


def test_curves_are_drawn_from_the_recorded_ones_and_no_two_are_alike() -> None:
    drawn = many(table(5), 50)
    assert len(drawn.curves) == 50
    assert drawn.curves[0].params == table(5).curves[0].params
    firsts = [curve.epochs[0].val_accuracy for curve in drawn.curves]
    assert len(set(firsts)) == 50
    assert {round(each, 4) for each in firsts} <= {round(curve.epochs[0].val_accuracy, 4) for curve in table(5).curves}


def test_the_spread_shifts_all_epochs_of_a_curve() -> None:
    pairs = zip(many(table(5), 400, spread=0.02).curves, many(table(5), 400).curves, strict=True)
    shifts = [[a.val_accuracy - b.val_accuracy for a, b in zip(x.epochs, y.epochs, strict=True)] for x, y in pairs]
    assert all(max(each) - min(each) < 1e-5 for each in shifts)
    assert statistics.stdev(each[0] for each in shifts) == pytest.approx(0.02, rel=0.15)


def test_a_distance_is_a_share_of_each_range_and_one_for_another_choice() -> None:
    left = {"n_layers": 1, "hidden_dim": 16, "fc_dropout": 0.1, "learning_rate": 0.1, "freeze_embedding": True}
    others = [
        left,
        left | {"hidden_dim": 64},
        left | {"hidden_dim": 32},
        left | {"freeze_embedding": False},
        left | {"n_layers": 2, "lstm_dropout": 0.3},
    ]
    assert Places(SPACE, others).distances(left).tolist() == pytest.approx([0, 1, 0.5, 1, 1.5])
