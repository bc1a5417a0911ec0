"""Who goes on at a rung, who is stopped, and who waits for whom."""

import itertools
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from core.errors import ConfigError
from core.training.result import EpochResult
from tests.support.small_study import add, small_study
from tests.support.study_configs import plan
from tuning.scheduling.successive_halving import Decision, RungTable, SuccessiveHalving, stopping_rule

GO_ON, STOP, WAIT = Decision


def test_who_is_compared_together_must_be_able_to_begin_together() -> None:
    with pytest.raises(ConfigError, match="cohort must be at least 1, got 0"):
        SuccessiveHalving(cohort=0)
    with pytest.raises(
        ConfigError, match="--window must be at least 5, as many trials as are compared with one another"
    ):
        plan(window=4, n_trials=8, stopping=SuccessiveHalving(cohort=5))


def curve(*accuracies: float) -> list[EpochResult]:
    return [
        EpochResult(epoch=i, train_loss=1.0, val_loss=1.0 - a, val_accuracy=a, seconds=0.1)
        for i, a in enumerate(accuracies, 1)
    ]


def verdict(own: Sequence[float], peers: Sequence[Sequence[float]]) -> Decision:
    """Of a trial that comes after its peers, which are over."""
    standings = RungTable(SuccessiveHalving(grace=2, reduction=3), 10)
    for number, peer in enumerate(peers):
        standings.record_scores(number, curve(*peer), over=True)
    standings.record_scores(len(peers), curve(*own), over=False)
    return standings.decide(len(peers), len(own))


def test_rungs_grow_by_the_reduction_and_end_before_the_last_epoch() -> None:
    assert SuccessiveHalving(grace=2, reduction=3).rungs(20) == [2, 6, 18]
    assert SuccessiveHalving(grace=2, reduction=3).rungs(6) == [2]
    assert SuccessiveHalving(grace=2, reduction=3).rungs(2) == []


def test_no_one_is_stopped_between_rungs_or_against_fewer_than_three() -> None:
    peers = [(0.9, 0.9, 0.9)] * 5
    assert verdict((0.1,), peers) == GO_ON
    assert verdict((0.1, 0.1), peers) == STOP
    assert verdict((0.1, 0.1, 0.1), peers) == GO_ON
    assert verdict((0.1, 0.1), peers[:2]) == GO_ON
    assert verdict((0.1, 0.1), peers[:3]) == STOP


def test_the_first_third_goes_on_and_a_tie_with_it_too() -> None:
    peers = [(0.5, a) for a in (0.9, 0.8, 0.7, 0.6, 0.55)]
    found = {a: verdict((0.5, a), peers) for a in (0.95, 0.85, 0.8, 0.75)}
    assert found == {0.95: GO_ON, 0.85: GO_ON, 0.8: GO_ON, 0.75: STOP}


def test_a_trial_counts_with_its_best_epoch_up_to_the_rung_only() -> None:
    assert verdict((0.6, 0.4), [(0.5, 0.5, 0.99, 0.99)] * 3) == GO_ON
    assert verdict((0.6, 0.4), [(0.5, 0.61, 0.1)] * 3) == STOP


def test_peers_that_were_over_before_the_rung_do_not_count() -> None:
    assert verdict((0.1, 0.1), [(0.9,)] * 5) == GO_ON


def test_a_trial_waits_until_all_before_it_have_reached_its_rung_or_are_over() -> None:
    standings = RungTable(SuccessiveHalving(grace=2, reduction=3), 10)
    standings.record_scores(4, curve(0.1, 0.1), over=False)
    for number in (1, 2, 3):
        standings.record_scores(number, curve(0.5, 0.6), over=False)
        assert standings.decide(4, 2) == WAIT
    standings.record_scores(0, curve(0.9), over=False)
    assert standings.decide(4, 2) == WAIT
    standings.record_scores(0, curve(0.9), over=True)
    assert standings.decide(4, 2) == STOP
    assert standings.decide(2, 2) == GO_ON  # two peers; what came after it is none of its business


def test_the_first_ones_are_compared_with_one_another() -> None:
    standings = RungTable(SuccessiveHalving(grace=2, reduction=3, cohort=4), 10)
    for number, accuracy in ((0, 0.5), (1, 0.7), (2, 0.6)):
        standings.record_scores(number, curve(accuracy, accuracy), over=False)
        assert standings.decide(number, 2) == (WAIT if number else GO_ON)
    standings.record_scores(3, curve(0.4, 0.4), over=False)
    assert [standings.decide(number, 2) for number in range(4)] == [GO_ON, GO_ON, STOP, STOP]
    standings.record_scores(4, curve(0.65, 0.65), over=False)
    assert standings.decide(4, 2) == STOP  # (4 + 1) // 3 places, and trial 1 has it


def test_nobody_waits_for_a_trial_that_waits_for_him() -> None:
    """Trials begin when those 0..n-window are over, workers take any: the search comes to its end, always the same."""
    draw = random.Random(0)
    curves = [[draw.random() for _ in range(9)] for _ in range(40)]

    def search(seed: int) -> list[int]:
        rule, window, rng = SuccessiveHalving(grace=1, reduction=2, cohort=6), 6, random.Random(seed)
        standings, done, over = RungTable(rule, 9), [0] * 40, [False] * 40
        while not all(over):
            begun = next(n for n in range(41) if n == 40 or not all(over[: max(0, n - window + 1)]))
            may_go = [n for n in range(begun) if not over[n] and standings.decide(n, done[n]) == GO_ON]
            behind = [n for n in range(begun) if not over[n] and standings.decide(n, done[n]) == STOP]
            number = rng.choice(may_go + behind)
            done[number] += number in may_go
            over[number] = number in behind or done[number] == 9
            standings.record_scores(number, curve(*curves[number][: done[number]]), over=over[number])
        return done

    found = [search(seed) for seed in range(10)]
    assert all(each == found[0] for each in found)
    assert {1, 2, 4, 9} <= set(found[0])
    assert sum(found[0]) < 0.4 * 40 * 9


def test_what_standings_say_does_not_depend_on_the_order_in_which_they_heard_it() -> None:
    curves = [(0.5, 0.6), (0.4, 0.45), (0.7, 0.8), (0.3, 0.3)]
    said = set()
    for order in itertools.permutations(range(4)):
        standings = RungTable(SuccessiveHalving(grace=2, reduction=3, cohort=4), 10)
        for number in order:
            standings.record_scores(number, curve(*curves[number][:1]), over=False)
            standings.record_scores(number, curve(*curves[number]), over=False)
        said.add(tuple(standings.decide(number, 2) for number in range(4)))
    assert said == {(GO_ON, STOP, GO_ON, STOP)}


def test_the_notebooks_setting_goes_on_whoever_is_better() -> None:
    standings = RungTable(SuccessiveHalving(grace=2, reduction=3, cohort=5), 10)
    standings.record_scores(0, curve(0.1, 0.1), over=False)
    assert standings.decide(0, 2) == GO_ON
    for number in range(1, 5):
        standings.record_scores(number, curve(0.9, 0.9), over=False)
    assert standings.decide(0, 2) == GO_ON
    assert standings.decide(1, 2) == GO_ON


def test_more_trials_than_there_was_room_for() -> None:
    standings = RungTable(SuccessiveHalving(grace=2, reduction=3), 10)
    for number in range(300):
        standings.record_scores(number, curve(0.5, 0.5 + number / 1000), over=False)
    assert standings.decide(299, 2) == GO_ON
    assert standings.decide(100, 2) == GO_ON
    standings.record_scores(300, curve(0.5, 0.6), over=False)
    assert standings.decide(300, 2) == STOP


def test_standings_are_read_from_a_journal_and_a_repeated_trial_stands_nowhere(tmp_path: Path) -> None:
    """Of the small study trial 0 alone has two epochs; 3 repeats it, and 4 still runs."""
    with small_study(tmp_path / "s") as journal:
        add(journal, 0.1, 0.1)
        standings = RungTable(SuccessiveHalving(grace=2, reduction=3), 10, journal.records())
        assert standings.decide(5, 2) == WAIT
        rung = standings.rungs[2]
        assert rung.settled == 4
        assert [score for score in rung.scores[:4] if score > 0] == [0.8]


def test_no_rule_has_no_rungs() -> None:
    standings = RungTable(None, 10)
    assert not standings.rungs
    assert standings.decide(0, 2) == GO_ON


def test_every_broken_rule_is_named() -> None:
    with pytest.raises(ConfigError, match="--grace must be at least 1, got 0; --reduction must be at least 2, got 1"):
        SuccessiveHalving(grace=0, reduction=1)


def test_a_rule_goes_by_its_name() -> None:
    assert stopping_rule("halving", 3, 4) == SuccessiveHalving(grace=3, reduction=4)
    assert stopping_rule("none", 0, 0) is None
