"""The simulator of faults: studies end as undisturbed ones do, and faults in the schedule are found."""

import dataclasses
import json
from collections import Counter

import pytest

from tests.simulator.faults import KILLS, run_seed
from tests.simulator.world import Disk, Killed
from tuning.journal.reader import Operation
from tuning.scheduling.asha import FAILED
from tuning.scheduling.schedule import Job, Schedule
from tuning.scheduling.virtual_clock import BASELINE, VirtualClock, VisibleResult

SEEDS = 60
MOST_SEEDS = 1000
"""A fault in the core must be found within this many."""
EVENTS = {
    *KILLS,
    "kill",
    "full disk",
    "interruption",
    "worker death in an epoch",
    "worker death before its report",
    "worker death before a late report",
    "lost checkpoint",
    "failed trial",
    "out of memory",
    "fewer trials first",
    "another budget first",
    "early end",
    "COMPLETE trial",
    "PRUNED trial",
    "FAIL trial",
    "repeated trial",
}


@pytest.mark.slow
def test_a_seed_gives_the_same_faults_each_time() -> None:
    first, second = Counter[str](), Counter[str]()
    for counts in (first, second):
        assert [run_seed(seed, counts) for seed in range(2)] == [None] * 2
    assert first == second


@pytest.mark.slow
def test_disturbed_studies_end_as_undisturbed_ones_do() -> None:
    """Every kind of fault occurs in them."""
    counts = Counter[str]()
    assert [difference for seed in range(SEEDS) if (difference := run_seed(seed, counts))] == []
    assert counts["study"] == SEEDS
    assert EVENTS - {name for name, count in counts.items() if count} == set()


def first_seed_that_differs() -> int | None:
    """Return the first seed whose study ends in another way, or not at all; None if there is none."""
    for seed in range(MOST_SEEDS):
        try:
            if run_seed(seed, Counter()) is not None:
                return seed
        except AssertionError:  # of the simulator; another error would be one of the planted code
            return seed
    return None


CLOSE = Operation.SET_TRIAL_STATE_VALUES
see_results = VirtualClock._see_results
append_logs = Disk.append_logs
hand_out = Schedule._hand_out


def see_the_next_result_too(clock: VirtualClock) -> bool:
    """See the results up to now, and the one after them if it exists already."""
    if not see_results(clock):
        return False
    if clock._hidden:
        visible, trial, stop = clock._hidden[0]
        if clock._score(trial, clock.stops[stop]) is not None:
            now, clock._free[0] = clock._free[0], visible
            see_results(clock)
            clock._free[0] = now
    return True


def see_all_results_that_exist(clock: VirtualClock) -> bool:
    """Promote by real time: a decision uses each score that is there."""
    if not see_results(clock):
        return False
    for hidden in sorted(clock._hidden):
        _, trial, stop = hidden
        score = clock._score(trial, clock.stops[stop])
        if score is not None:
            clock._hidden.remove(hidden)
            clock.log.append(VisibleResult(trial, clock.stops[stop], score))
            if score != FAILED and stop < len(clock._rungs):
                clock._rungs[stop].add(trial, score, pause=trial != BASELINE)
    clock._hidden.sort()
    return True


def lose_an_acknowledged_epoch(disk: Disk, logs: list[dict[str, object]]) -> None:
    """Append records; a torn write loses an epoch that was acknowledged before: the latest one of an ended trial."""
    try:
        append_logs(disk, logs)
    except Killed:
        closed = [record["trial_id"] for record in disk.read_logs(0) if record["op_code"] == CLOSE]
        for at in reversed(range(len(disk.lines) if disk.torn else 0)):
            record = json.loads(disk.lines[at])
            if record.get("trial_id") in closed and any("epoch:" in name for name in record.get("user_attr", ())):
                del disk.lines[at]
                break
        raise


def skip_an_epoch(schedule: Schedule, trial: int) -> Job:
    """Continue a trial one epoch too late: its worker does not report an epoch that only its checkpoint has."""
    job = hand_out(schedule, trial)
    return dataclasses.replace(job, first=job.first + 1) if 1 < job.first < job.last else job


@pytest.mark.slow
def test_a_job_that_begins_too_late_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Schedule, "_hand_out", skip_an_epoch)
    assert first_seed_that_differs() is not None


@pytest.mark.slow
@pytest.mark.parametrize("planted", [see_the_next_result_too, see_all_results_that_exist])
def test_a_decision_that_uses_a_result_too_early_is_found(planted: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VirtualClock, "_see_results", planted)
    assert first_seed_that_differs() is not None


class AllDeaths(Counter[int]):
    """Deaths of workers that no new epoch clears."""

    def __delitem__(self, trial: int) -> None: ...


@pytest.mark.slow
def test_a_trial_that_fails_by_deaths_with_new_epochs_between_them_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuning.scheduling.schedule.Counter", AllDeaths)
    assert first_seed_that_differs() is not None


@pytest.mark.slow
def test_an_epoch_that_is_lost_at_a_torn_write_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Disk, "append_logs", lose_an_acknowledged_epoch)
    assert first_seed_that_differs() is not None
