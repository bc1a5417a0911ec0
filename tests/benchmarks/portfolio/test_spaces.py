"""The tables of the ranges and of the importances."""

from pathlib import Path

import pytest

from benchmarks.portfolio.record import capped
from benchmarks.portfolio.spaces import (
    good,
    importance_rows,
    importances,
    means,
    part_of,
    parts_of,
    picture,
    random_configurations,
    range_rows,
)
from tests.support.portfolio_recording import POOLINGS, recording

DIMENSIONS = {dimension.name: dimension for dimension in capped("default", 256).dimensions}


def test_the_parts_of_a_range_are_equal_on_its_scale() -> None:
    assert parts_of(DIMENSIONS["hidden_dim"])[0] == "64 to 76.1"
    assert [part_of(DIMENSIONS["hidden_dim"], value) for value in (64, 128, 256)] == [0, 4, 7]
    assert parts_of(DIMENSIONS["n_layers"]) == ["1", "2", "3"]
    assert part_of(DIMENSIONS["n_layers"], 3) == 2
    assert parts_of(DIMENSIONS["ema_decay"]) == ["none", "0.99", "0.999"]
    assert part_of(DIMENSIONS["ema_decay"], None) == 0


def test_a_quarter_of_the_configurations_is_good_on_each_set(tmp_path: Path) -> None:
    found = recording(tmp_path)
    numbers = random_configurations(found, "default")
    assert [round(float(share), 2) for share in good(found, numbers).mean(axis=1)] == [0.27, 0.27, 0.27]


@pytest.mark.slow
def test_ranges_without_a_good_configuration_are_marked(tmp_path: Path) -> None:
    rows = [row.split(" | ") for row in range_rows(recording(tmp_path, count=150), "default") if "| fc_dropout" in row]
    assert [row[0].removeprefix("| ") for row in rows] == ["fc_dropout"] * 8
    assert rows[0][1] == "0.1 to 0.163"
    assert rows[-1][-1].startswith("cut")
    assert not rows[0][-1].startswith("cut")


def test_each_learning_rate_of_adam_adamw_and_rmsprop_is_in_one_row(tmp_path: Path) -> None:
    found = recording(tmp_path)
    configs = [found.config(number) for number in random_configurations(found, "default")]
    rows = [row.split(" | ") for row in range_rows(found, "default") if row.startswith("| learning_rate (")]
    assert [row[1] for row in rows] == ["0.0001 to 0.0003", "0.0003 to 0.001", "0.001 to 0.002", "0.002 to 0.01"]
    assert sum(int(row[2]) for row in rows) == sum(config.optimizer != "adadelta" for config in configs)


@pytest.mark.slow
def test_what_decides_is_important_on_each_set_and_shares_add_up_to_1(tmp_path: Path) -> None:
    found = importances(recording(tmp_path, count=150), "default")
    assert found.keys() == POOLINGS.keys()
    for shares in found.values():
        assert abs(sum(shares.values()) - 1) < 1e-9
        assert "learning_rate_adadelta" in shares
    assert set(list(means(found))[:2]) == {"pooling", "fc_dropout"}
    assert len(list(importance_rows(found))) == 2 + len(DIMENSIONS)
    drawn_chart = picture(found).to_dict()
    assert [layer["mark"]["type"] for layer in drawn_chart["layer"]] == ["bar", "point"]
