"""tuning.scheduling.virtual_clock: the trainings and their order depend only on virtual time."""

import random
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from tuning.scheduling.asha import FAILED, Asha
from tuning.scheduling.simulated_backend import ScoreFunction, SimulatedEpoch, simulate
from tuning.scheduling.virtual_clock import NoJob, VirtualClock, VirtualJob, VisibleResult

HALF = Asha(grace=1, reduction=2)
Row = tuple[int, int, int, float, float]


@dataclass
class Study:
    """A study whose results are known before it starts."""

    scores: Sequence[float | Sequence[float]]
    """By trial: its score at each stop, or the same one at all."""
    epochs: int = 4
    parallelism: int = 1
    lag: float = 0.0
    rule: Asha | None = HALF
    costs: Sequence[float | None] = ()
    """Of an epoch, by trial; None: the trial repeats another one. Without any, each costs 1."""
    ended: Callable[[Sequence[VisibleResult]], bool] = lambda log: False
    baseline: bool = True
    jobs: list[VirtualJob] = field(default_factory=list)

    def score(self, trial: int, epoch: int) -> float:
        """Return the score of a trial at a stop."""
        scores = self.scores[trial]
        stops = [*(self.rule.rungs(self.epochs) if self.rule else ()), self.epochs]
        return scores if isinstance(scores, float) else scores[stops.index(epoch)]

    def clock(self, score: ScoreFunction | None = None) -> VirtualClock:
        """Return a new clock; without `score`, all results exist at once."""
        costs = self.costs or [1.0] * len(self.scores)
        return VirtualClock(
            n_trials=len(self.scores),
            epochs=self.epochs,
            parallelism=self.parallelism,
            lag=self.lag,
            rule=self.rule,
            start=costs.__getitem__,
            score=score or self.score,
            ended=self.ended,
            baseline=self.baseline,
        )

    def clock_with(self, exist: Collection[tuple[int, int]]) -> VirtualClock:
        """Return a new clock for which the results of these trials at these epochs exist."""
        return self.clock(lambda trial, epoch: self.score(trial, epoch) if (trial, epoch) in exist else None)

    def rows(self) -> list[Row]:
        """Return all jobs: trial, first epoch, last epoch, begin and end."""
        return [row_of(job) for job in jobs_of(self.clock())]


def row_of(job: VirtualJob) -> Row:
    return (job.trial, job.first, job.last, job.begin, job.end)


def jobs_of(clock: VirtualClock) -> list[VirtualJob]:
    """Return the jobs of a clock whose results all exist."""
    jobs = []
    while isinstance(job := clock.next_job(), VirtualJob):
        jobs.append(job)
    assert job is NoJob.DONE
    return jobs


def test_one_virtual_worker_promotes_a_trial_before_it_starts_the_next() -> None:
    """Rungs after epochs 1 and 2. Trials 1 and 2 are each the best so far, trial 3 is the worst."""
    assert Study([0.5, 0.6, 0.7, 0.4]).rows() == [
        (0, 1, 4, 0.0, 4.0),
        (1, 1, 1, 4.0, 5.0),
        (1, 2, 2, 5.0, 6.0),
        (1, 3, 4, 6.0, 8.0),
        (2, 1, 1, 8.0, 9.0),
        (2, 2, 2, 9.0, 10.0),
        (2, 3, 4, 10.0, 12.0),
        (3, 1, 1, 12.0, 13.0),
    ]


def test_without_a_baseline_trial_0_pauses_like_any_other() -> None:
    """The rung has trial 0 alone, which is therefore not promoted before trial 1 is there."""
    assert Study([0.4, 0.6], epochs=2, baseline=False).rows() == [
        (0, 1, 1, 0.0, 1.0),
        (1, 1, 1, 1.0, 2.0),
        (1, 2, 2, 2.0, 3.0),
    ]
    assert Study([0.5], epochs=2, baseline=False).rows() == [(0, 1, 1, 0.0, 1.0), (0, 2, 2, 1.0, 2.0)]


def test_two_virtual_workers_with_a_lag_start_trials_until_a_result_is_visible() -> None:
    """At time 1 no result is visible, so trial 2 starts. At time 2 the first rung has trials 0 and 1."""
    study = Study([0.5, 0.6, 0.4], epochs=2, parallelism=2, lag=1.0)
    clock = study.clock()
    assert [row_of(job) for job in jobs_of(clock)] == [
        (0, 1, 2, 0.0, 2.0),
        (1, 1, 1, 0.0, 1.0),
        (2, 1, 1, 1.0, 2.0),
        (1, 2, 2, 2.0, 3.0),
    ]
    assert [(result.trial, result.epoch) for result in clock.log] == [(0, 1), (1, 1), (0, 2), (2, 1), (1, 2)]


def test_without_a_rule_each_trial_is_one_job_on_the_virtual_worker_that_is_free_first() -> None:
    study = Study([0.5] * 4, epochs=3, parallelism=2, rule=None, costs=[2.0, 1.0, 1.0, 1.0])
    assert study.rows() == [(0, 1, 3, 0, 6), (1, 1, 3, 0, 3), (2, 1, 3, 3, 6), (3, 1, 3, 6, 9)]


def random_study(rng: random.Random) -> Study:
    """Return a study with ties, failures and duplicates."""
    epochs, n = rng.choice((1, 2, 4, 5, 9)), rng.randint(1, 40)
    rule = Asha(grace=rng.randint(1, 2), reduction=rng.randint(2, 4)) if rng.random() < 0.9 else None
    n_stops = len(rule.rungs(epochs) if rule else ()) + 1
    scores: list[list[float]] = []
    for _ in range(n):
        rising = sorted(rng.randint(0, 9) / 9 for _ in range(n_stops))
        failed = rng.randint(0, n_stops) if rng.random() < 0.2 else n_stops
        scores.append([*rising[:failed], *[FAILED] * (n_stops - failed)])
    costs = [None if at and rng.random() < 0.1 else rng.choice((0.5, 1.0, 1.0, 2.0, rng.random())) for at in range(n)]
    return Study(
        scores,
        epochs=epochs,
        parallelism=rng.choice((1, 2, 3, 8)),
        lag=rng.choice((0.0, 0.5, 2.0, 8.0)),
        rule=rule,
        costs=costs,
    )


SEEDS = range(60)


def test_a_decision_uses_the_results_whose_virtual_end_is_a_lag_ago_and_no_others() -> None:
    for seed in SEEDS:
        study = random_study(random.Random(seed))
        clock = study.clock()
        results: list[tuple[float, int, int]] = []  # visible from, trial, epoch
        costs = study.costs
        while isinstance(job := clock.next_job(), VirtualJob):
            expected = [(trial, epoch) for visible, trial, epoch in sorted(results) if visible <= job.begin]
            assert [(result.trial, result.epoch) for result in clock.log] == expected, seed
            cost = costs[job.trial]
            assert cost is not None, seed
            for stop in clock.stops:
                if job.first <= stop <= job.last:
                    results.append((job.begin + cost * (stop - job.first + 1) + study.lag, job.trial, stop))
        assert len(clock.log) == len(results), seed


def decision(study: Study, stops: Sequence[int], log: Sequence[VisibleResult], jobs: Sequence[VirtualJob]) -> Row:
    """Return trial, first and last epoch of the next job, by a full order of all visible scores at each rung."""
    trained = {job.trial: job.last for job in jobs}
    failed = {result.trial for result in log if result.score == FAILED}
    paused: list[tuple[int, int]] = []  # best first, of the highest rung first
    assert study.rule is not None or len(stops) == 1
    for at in reversed(range(len(stops) - 1)):
        ranked = sorted((-r.score, r.trial) for r in log if r.epoch == stops[at] and r.score != FAILED)
        waiting = [trial for _, trial in ranked if trial != 0 and trained[trial] == stops[at]]
        best = [trial for _, trial in ranked[: len(ranked) // (study.rule.reduction if study.rule else 2)]]
        for trial in waiting:
            if trial in best:
                return (trial, stops[at] + 1, stops[at + 1], 0, 0)
        paused += [(trial, stops[at]) for trial in waiting]
    for number, cost in enumerate(study.costs):
        if cost is not None and number not in trained:
            return (number, 1, stops[0] if number else study.epochs, 0, 0)
    assert not [trial for trial, last in trained.items() if trial and last == study.epochs and trial not in failed]
    trial, epoch = paused[0]
    return (trial, epoch + 1, study.epochs, 0, 0)


def test_each_decision_is_that_of_a_full_order_of_the_visible_scores() -> None:
    """The best promotable trial of the highest rung, else a new trial; at the end the best paused one, if needed."""
    for seed in SEEDS:
        study = random_study(random.Random(seed))
        clock = study.clock()
        jobs: list[VirtualJob] = []
        while isinstance(job := clock.next_job(), VirtualJob):
            assert row_of(job)[:3] == decision(study, clock.stops, clock.log, jobs)[:3], seed
            jobs.append(job)
        assert {job.trial for job in jobs} == {n for n, cost in enumerate(study.costs) if cost is not None}, seed
        failed = {result.trial for result in clock.log if result.score == FAILED}
        others = {job.trial for job in jobs} - failed - {0}
        assert not others or [job for job in jobs if job.trial in others and job.last == study.epochs], seed


def test_at_most_as_many_jobs_overlap_as_there_are_virtual_workers() -> None:
    for seed in SEEDS:
        study = random_study(random.Random(seed))
        jobs = jobs_of(study.clock())
        for job in jobs:
            assert sum(other.begin <= job.begin < other.end for other in jobs) <= study.parallelism, seed


def test_if_no_other_trial_was_trained_in_full_the_best_paused_one_is() -> None:
    """The baseline is the best of three at the first rung, so no other trial is promoted."""
    assert Study([0.9, 0.4, 0.5]).rows()[-1] == (2, 2, 4, 6.0, 9.0)


def test_if_that_trial_fails_the_next_best_one_is_trained_in_full() -> None:
    rows = Study([0.9, 0.4, [0.5, 0.5, FAILED]]).rows()
    assert [row[:3] for row in rows[3:]] == [(2, 2, 4), (1, 2, 4)]


def test_the_best_paused_one_is_of_the_highest_rung() -> None:
    """Trial 1 is promoted once; at the second rung, the baseline is better."""
    rows = Study([[0.4, 0.9, 0.9], [0.5, 0.6, 0.6], 0.45]).rows()
    assert [row[:3] for row in rows] == [(0, 1, 4), (1, 1, 1), (1, 2, 2), (2, 1, 1), (1, 3, 4)]


def test_a_trial_that_fails_at_its_last_epoch_is_not_trained_in_full() -> None:
    rows = Study([0.5, [0.6, 0.6, FAILED], 0.4]).rows()
    assert [row[:3] for row in rows] == [(0, 1, 4), (1, 1, 1), (1, 2, 2), (1, 3, 4), (2, 1, 1), (2, 2, 4)]


def test_a_failed_trial_is_never_promoted_and_takes_no_place_in_the_rung() -> None:
    """With a place for trial 1, the rung would have three trials, of which trial 2 is the best."""
    third = Asha(grace=1, reduction=3)
    rows = Study([0.5, FAILED, 0.6], epochs=2, rule=third).rows()
    assert [row[:3] for row in rows] == [(0, 1, 2), (1, 1, 1), (2, 1, 1), (2, 2, 2)]
    assert rows[-1][3] == rows[-2][4]
    assert Study([0.5, FAILED], epochs=2).rows() == [(0, 1, 2, 0, 2), (1, 1, 1, 2, 3)]


def test_a_failed_trial_keeps_its_virtual_worker_to_the_planned_end() -> None:
    """Virtual time does not depend on results."""
    assert Study([FAILED, 0.6], rule=None).rows() == [(0, 1, 4, 0, 4), (1, 1, 4, 4, 8)]


def test_a_trial_that_repeats_another_one_takes_no_virtual_time() -> None:
    with_copies = Study([0.5, 0.0, 0.6, 0.0, 0.4], costs=[1.0, None, 1.0, None, 1.0])
    without = [(row[0] * 2, *row[1:]) for row in Study([0.5, 0.6, 0.4]).rows()]
    assert with_copies.rows() == without


def test_nothing_is_decided_after_the_visible_results_have_ended_the_study() -> None:
    """The result of trial 1 is visible at time 5."""
    study = Study([0.5, 0.9, 0.6], rule=None, parallelism=2, lag=1.0, ended=lambda log: any(r.score > 0.8 for r in log))
    assert [row[:3] for row in study.rows()] == [(0, 1, 4), (1, 1, 4), (2, 1, 4)]
    study.lag = 0.0
    clock = study.clock()
    assert [job.trial for job in jobs_of(clock)] == [0, 1]
    assert clock.next_job() is NoJob.DONE


def test_a_decision_waits_for_a_result_that_it_uses_and_for_no_other() -> None:
    exist: set[tuple[int, int]] = set()
    study = Study([0.5, 0.6, 0.4], epochs=2, parallelism=2, lag=1.0)
    clock = study.clock_with(exist)
    assert [clock.next_job() is NoJob.WAIT for _ in range(4)] == [False, False, False, True]
    exist |= {(1, 1), (2, 1), (0, 2)}
    assert clock.next_job() is NoJob.WAIT
    exist.add((0, 1))
    assert isinstance(clock.next_job(), VirtualJob)


class Recorded:
    """A clock whose jobs are kept."""

    def __init__(self, clock: VirtualClock, jobs: list[VirtualJob]) -> None:
        self.clock, self.jobs = clock, jobs

    def next_job(self) -> VirtualJob | NoJob:
        job = self.clock.next_job()
        if isinstance(job, VirtualJob):
            self.jobs.append(job)
        return job


def searched(
    study: Study, rng: random.Random, trained: Mapping[int, int] = MappingProxyType({})
) -> tuple[list[Row], list[SimulatedEpoch]]:
    """Return the jobs and the epochs of a search by real workers of any number and speed."""
    jobs: list[VirtualJob] = []
    noise = rng.choice((0.0, 0.5, 2.0))
    factors: dict[Any, float] = {}

    def seconds(trial: int, epoch: int) -> float:
        cost = study.costs[trial]
        assert cost is not None
        return cost * factors.setdefault((trial, epoch), 2.0 ** rng.gauss(0, noise))

    def new_clock(score: ScoreFunction) -> Recorded:
        return Recorded(study.clock(score), jobs)

    epochs = simulate(new_clock, study.score, seconds, rng.choice((1, 2, 3, 8)), trained)
    return [row_of(job) for job in jobs], epochs


def test_the_jobs_are_the_same_for_any_number_and_speed_of_real_workers() -> None:
    for seed in SEEDS:
        rng = random.Random(seed)
        study = random_study(rng)
        for _ in range(4):
            assert searched(study, rng)[0] == study.rows(), seed


def test_the_jobs_are_the_same_after_any_number_of_restarts() -> None:
    """Each restart finds the epochs that were trained before it, and trains only the others."""
    for seed in SEEDS:
        rng = random.Random(seed)
        study = random_study(rng)
        trained: Counter[int] = Counter()
        n_epochs = sum(row[2] - row[1] + 1 for row in study.rows())
        for _ in range(3):
            _, epochs = searched(study, rng, trained)
            for epoch in epochs[: rng.randint(0, n_epochs // 3)]:
                trained[epoch.trial] = epoch.epoch
        jobs, epochs = searched(study, rng, trained)
        assert jobs == study.rows(), seed
        assert len(epochs) == n_epochs - trained.total(), seed
