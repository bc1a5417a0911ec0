"""The policies that are compared."""

from dataclasses import fields

from benchmarks.simulation.compare_policies import DEFAULT, main_ways, other_ways
from tuning.scheduling.study_config import default_lag


def test_each_alternative_differs_from_the_default_in_one_setting() -> None:
    default = main_ways(60, 2)[DEFAULT]
    others = other_ways(default, 12)
    for name, policy in others.items():
        changed = [each.name for each in fields(default) if getattr(policy, each.name) != getattr(default, each.name)]
        assert len(changed) == 1, name
    rules = {policy.rule for policy in (default, *others.values()) if policy.rule is not None}
    assert len({tuple(rule.rungs(12)) for rule in rules}) == len(rules) == 9
    assert "default, lag 0" in others


def test_the_lag_of_the_default_follows_the_number_of_workers() -> None:
    assert main_ways(60, 64)[DEFAULT].lag == default_lag(64) > default_lag(2)
