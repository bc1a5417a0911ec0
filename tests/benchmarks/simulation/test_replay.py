"""What a replayed search trains, sees and takes."""

import gzip
import json
from pathlib import Path

import pytest

from benchmarks.simulation.replay import Policy, Simulation, band, distance, read_table
from tests.support.curves import EPOCHS, SPACE, accuracy, table
from tuning.scheduling.successive_halving import SuccessiveHalving


def test_a_search_without_stopping_trains_every_epoch_of_as_many_trials_as_asked() -> None:
    found = Simulation(table(), Policy(trials=10), seed=1).run()
    assert found.epochs_by_trial == [EPOCHS] * 10
    assert len(set(found.curves)) == 10
    assert len(found.best) == len(found.seconds) == 10 * EPOCHS
    assert found.best == sorted(found.best)
    assert found.seconds == sorted(found.seconds)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_ordered_trials_and_stops_do_not_depend_on_the_number_of_workers(sampler: str) -> None:
    policy = {"sampler": sampler, "stopping": SuccessiveHalving(grace=1), "trials": 20}
    found = [Simulation(table(), Policy(workers=workers, **policy), seed=1).run() for workers in (1, 2, 5)]
    assert found[0].curves == found[1].curves == found[2].curves
    assert found[0].epochs_by_trial == found[1].epochs_by_trial == found[2].epochs_by_trial
    assert len(set(found[0].epochs_by_trial)) > 1
    assert found[0].seconds[-1] > found[1].seconds[-1] > found[2].seconds[-1]


def test_free_trials_do_depend_on_it() -> None:
    policy = {"stopping": SuccessiveHalving(grace=1), "trials": 40, "ordered": False}
    found = [Simulation(table(), Policy(workers=workers, **policy), seed=1).run() for workers in (1, 8)]
    assert found[0].epochs_by_trial != found[1].epochs_by_trial


def test_halving_finds_the_same_best_with_fewer_epochs() -> None:
    whole = Simulation(table(), Policy(trials=60), seed=1).run()
    halved = Simulation(table(), Policy(trials=60, stopping=SuccessiveHalving(grace=1)), seed=1).run()
    assert halved.best[-1] == whole.best[-1] == table().best
    assert len(halved.best) < 0.7 * len(whole.best)


@pytest.mark.slow
def test_tpe_finds_the_good_end_of_the_range_sooner_than_chance() -> None:
    def mean_dropout(sampler: str) -> float:
        found = Simulation(table(120), Policy(sampler=sampler, trials=40, window=4), seed=1).run()
        curves = [table(120).curves[i] for i in found.curves[20:]]
        return sum(float(curve.config["fc_dropout"]) for curve in curves) / len(curves)

    assert mean_dropout("tpe") < mean_dropout("random") - 0.03


def test_no_curve_is_used_twice_whatever_is_suggested() -> None:
    found = Simulation(table(25), Policy(sampler="tpe", trials=100), seed=1).run()
    assert sorted(found.curves) == list(range(25))


def test_one_epoch_for_all_then_the_rest_for_the_best() -> None:
    found = Simulation(table(), Policy(trials=20, top_k=3), seed=1).run()
    assert sorted(found.epochs_by_trial) == [1] * 17 + [EPOCHS] * 3
    assert len(found.best) == 20 + 3 * (EPOCHS - 1)
    best = max(accuracy(float(table().curves[i].config["fc_dropout"]), EPOCHS) for i in found.curves)
    assert found.best[-1] == pytest.approx(best)


def test_a_distance_is_a_share_of_each_range_and_one_for_another_choice() -> None:
    left = {"n_layers": 1, "hidden_dim": 16, "fc_dropout": 0.1, "learning_rate": 0.1, "freeze_embedding": True}
    assert distance(SPACE, left, left) == 0
    assert distance(SPACE, left, left | {"hidden_dim": 64}) == pytest.approx(1)
    assert distance(SPACE, left, left | {"hidden_dim": 32}) == pytest.approx(0.5)
    assert distance(SPACE, left, left | {"freeze_embedding": False}) == 1
    assert distance(SPACE, left, left | {"n_layers": 2, "lstm_dropout": 0.3}) == pytest.approx(1.5)


def test_epochs_until_an_accuracy_is_reached_and_their_band() -> None:
    found = Simulation(table(), Policy(trials=5), seed=1).run()
    assert found.epochs_until(found.best[7]) == found.best.index(found.best[7]) + 1
    assert found.epochs_until(2.0) == float("inf")
    assert band(range(100)) == (10, 50, 90)


def test_the_best_at_a_time_is_that_of_the_epochs_that_were_over() -> None:
    found = Simulation(table(), Policy(trials=5), seed=1).run()
    assert found.best_at(found.seconds[0] / 2) == 0
    assert [found.best_at(time) for time in found.seconds[:1] + found.seconds[-1:]] == [found.best[0], found.best[-1]]
    assert found.best_at(1e9) == found.best[-1]


def test_a_recorded_file_is_read_by_space(tmp_path: Path) -> None:
    curve = table(3).curves[1]
    trial = {"config": dict(curve.config), "seconds": 2.0, "curve": [[0.5, 0.7], [0.6, 0.6]]}
    content = {
        "spaces": {"notebook": json.loads(SPACE.to_json())},
        "epochs": 2,
        "curves": [
            {"space": "notebook", **trial},
            {"space": "default", **trial},
            {"space": "notebook", **trial, "curve": []},
        ],
    }
    path = tmp_path / "curves.json.gz"
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    read = read_table(path, "notebook")
    assert [(c.params, len(c.epochs)) for c in read.curves] == [(curve.params, 2)]
    assert (read.best, read.epochs) == (0.6, 2)


def test_a_search_that_may_end_early_ends_when_it_has_found_enough() -> None:
    whole = Simulation(table(), Policy(trials=60), seed=1).run()
    enough = whole.best[50]
    found = Simulation(table(), Policy(trials=60), seed=1, until=enough).run()
    assert len(found.best) == whole.epochs_until(enough) < len(whole.best)
    assert found.seconds_until(enough) == whole.seconds_until(enough) == found.seconds[-1]
    more = Simulation(table(), Policy(trials=60), seed=1, until=enough, least=200).run()
    assert more.best == whole.best[:200]
