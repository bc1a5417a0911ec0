"""Space: suggestions, configurations, parameters of a configuration, JSON."""

import copy
import json
import warnings
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FixedTrial

from core.config import TrialConfig
from core.errors import ConfigError, CorruptionError, UserError
from tests.support.expressions import distributions, refusal
from tests.support.json_places import Place, container, places
from tuning.space.load import load_space
from tuning.space.presets import PRESETS
from tuning.space.space import DEFAULTS, Dimension, Space, midpoint


def layers_and_dropout() -> Space:
    """Dropout between layers is searched where there are several."""
    return Space(
        name="two",
        dimensions=(
            Dimension(name="n_layers", field="n_layers", distribution=IntDistribution(1, 3)),
            Dimension(
                name="lstm_dropout",
                field="lstm_dropout",
                distribution=FloatDistribution(0, 0.5),
                when=(("n_layers", (2, 3)),),
            ),
        ),
        fixed={"clip_norm": None},
    )


def test_only_active_dimensions_are_suggested() -> None:
    space = layers_and_dropout()
    assert space.suggest(FixedTrial({"n_layers": 1, "lstm_dropout": 0.1})) == {"n_layers": 1}
    assert space.suggest(FixedTrial({"n_layers": 2, "lstm_dropout": 0.1})) == {"n_layers": 2, "lstm_dropout": 0.1}


def test_a_condition_on_a_setting_that_is_not_active_does_not_hold() -> None:
    """Although its default, 0, is an allowed value."""
    decay = CategoricalDistribution([0.0, 0.01])
    dimensions: list[tuple[str, Any, Any]] = [
        ("optimizer", CategoricalDistribution(["adam", "adamw"]), ()),
        ("weight_decay", decay, (("optimizer", ("adamw",)),)),
        ("label_smoothing", FloatDistribution(0.1, 0.2), (("weight_decay", (0.0,)),)),
    ]
    made = tuple(Dimension(name=n, field=n, distribution=d, when=w) for n, d, w in dimensions)
    space = Space(name="chain", dimensions=made)
    given = {"weight_decay": 0.0, "label_smoothing": 0.1}
    assert space.suggest(FixedTrial({"optimizer": "adam", **given})) == {"optimizer": "adam"}
    assert space.suggest(FixedTrial({"optimizer": "adamw", **given})) == {"optimizer": "adamw", **given}


def test_parameters_become_a_configuration_over_the_fixed_settings() -> None:
    config = layers_and_dropout().to_config({"n_layers": 2, "lstm_dropout": 0.1}, epochs=3, seed=7)
    assert config == TrialConfig(n_layers=2, lstm_dropout=0.1, clip_norm=None, epochs=3, seed=7)


@pytest.mark.parametrize("name", sorted(PRESETS))
@pytest.mark.parametrize("seed", range(3))
def test_a_suggestion_is_found_again_in_its_configuration(name: str, seed: int) -> None:
    space = load_space(name)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    for _ in range(10):
        params = space.suggest(study.ask())
        assert space.to_params(space.to_config(params)) == params


@pytest.mark.parametrize("name", ["default", "notebook"])
def test_the_notebook_lies_inside_two_presets(name: str) -> None:
    space = load_space(name)
    params = space.to_params(TrialConfig.notebook())
    assert {"n_layers", "hidden_dim", "lstm_dropout", "fc_dropout", "freeze_embedding"} <= set(params)
    searched = space.to_config(params)
    for dimension in space.dimensions:
        if dimension.name in params:
            assert getattr(searched, dimension.field) == getattr(TrialConfig.notebook(), dimension.field)


def test_the_notebook_preset_searches_what_the_notebook_invites_to_change_and_reproduces_it() -> None:
    space = load_space("notebook")
    names = ["n_layers", "hidden_dim", "lstm_dropout", "fc_dropout", "learning_rate", "freeze_embedding"]
    assert [dimension.name for dimension in space.dimensions] == names
    assert space.to_config(space.to_params(TrialConfig.notebook())) == TrialConfig.notebook()


def test_the_default_preset_searches_everything_but_what_its_comment_leaves_out() -> None:
    searched = {dimension.field for dimension in load_space("default").dimensions}
    left_out = {"fc_dropout_twice", "embedding_max_norm", "clip_norm", "inexact_lazy_adam"}
    assert searched == set(DEFAULTS) - left_out


def test_a_learning_rate_belongs_to_its_optimizer() -> None:
    space = load_space("default")
    adam = space.to_params(TrialConfig(optimizer="adam", learning_rate=2e-3))
    adadelta = space.to_params(TrialConfig(optimizer="adadelta", learning_rate=0.5))
    assert (adam["learning_rate_adam"], adadelta["learning_rate_adadelta"]) == (2e-3, 0.5)
    assert "learning_rate_adadelta" not in adam
    assert "learning_rate_adam" not in adadelta


def test_values_outside_the_space_are_not_shown_to_the_sampler() -> None:
    space = layers_and_dropout()
    assert space.to_params(TrialConfig(n_layers=5, lstm_dropout=0.2)) == {}
    assert space.to_params(TrialConfig(n_layers=2, lstm_dropout=0.7)) == {"n_layers": 2}


@pytest.mark.parametrize(("drawn", "step"), [(6.938893903907228e-18, 0.0), (0.10000000000000002, 0.1), (0.3, 0.3)])
def test_a_suggestion_on_a_range_with_steps_is_exactly_a_step(drawn: float, step: float) -> None:
    """gp computes these numbers where the other samplers return the step."""
    space = load_space("notebook", ["fc_dropout=float(0, 0.3, step=0.1)"])
    dimension = next(each for each in space.dimensions if each.name == "fc_dropout")
    assert dimension.suggest(FixedTrial({"fc_dropout": drawn})) == step  # type: ignore[arg-type]  # as a Trial


@pytest.mark.parametrize(
    ("distribution", "value", "inside"),
    [
        (IntDistribution(32, 256, step=32), 64, True),
        (IntDistribution(32, 256, step=32), 65, False),
        (IntDistribution(1, 3), 2.0, False),
        (IntDistribution(1, 3), True, False),
        (FloatDistribution(0, 0.5, step=0.1), 0.30000000000000004, True),
        (FloatDistribution(0, 0.5, step=0.1), 0.25, False),
        (FloatDistribution(0.1, 1, log=True), 0.1, True),
        (FloatDistribution(0.1, 1, log=True), None, False),
        (FloatDistribution(0.1, 1), float("nan"), False),
        (CategoricalDistribution([None, 1.0]), None, True),
        (CategoricalDistribution([16, 32]), 50, False),
        (CategoricalDistribution([0, 1]), True, False),
    ],
)
def test_a_dimension_contains_what_optuna_could_suggest(
    distribution: IntDistribution | FloatDistribution | CategoricalDistribution,
    value: float | None,
    inside: bool,
) -> None:
    dimension = Dimension(name="weight_decay", field="weight_decay", distribution=distribution)
    assert dimension.contains(value) is inside


@pytest.mark.parametrize(
    ("dimensions", "fixed", "message"),
    [
        ([("n_layers", "n_layers", FloatDistribution(1, 3), ())], {}, "n_layers must be a whole number .* got 1.0"),
        ([("n_layers", "hidden_dim", IntDistribution(1, 3), ())], {}, "n_layers is another setting"),
        ([("a", "n_layers", IntDistribution(1, 3), ())] * 2, {}, "a occurs twice in the space"),
        (
            [("lstm_dropout", "lstm_dropout", FloatDistribution(0, 0.5), (("depth", (2,)),))],
            {},
            "lstm_dropout depends on depth, which is no earlier setting",
        ),
        ([], {"fc_dropout": 2}, "fc_dropout must be at least 0 and below 1, got 2"),
    ],
)
def test_a_space_that_breaks_a_rule_cannot_be_made(
    dimensions: list[tuple[str, str, IntDistribution, tuple[tuple[str, tuple[int, ...]], ...]]],
    fixed: dict[str, float],
    message: str,
) -> None:
    made = tuple(Dimension(name=n, field=f, distribution=d, when=w) for n, f, d, w in dimensions)
    with pytest.raises(ConfigError, match=message):
        Space(name="bad", dimensions=made, fixed=fixed)


def test_every_broken_rule_is_named_at_once() -> None:
    wide = Dimension(name="fc_dropout", field="fc_dropout", distribution=FloatDistribution(-1, 1.5))
    with pytest.raises(ConfigError, match=r"hidden_dim must .* got 0; .* got -1.0; .* got 1.5; .* got 'sgd'"):
        Space(name="bad", dimensions=(wide,), fixed={"hidden_dim": 0}, try_first=({"optimizer": "sgd"},))


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_json_brings_each_preset_back(name: str) -> None:
    space = load_space(name)
    again = Space.from_dict(json.loads(json.dumps(space.to_dict())))
    assert again == space
    assert again.to_dict() == space.to_dict()


@given(distributions(), st.lists(st.integers(1, 8), min_size=1, unique=True))
def test_json_brings_any_dimension_back_exactly(distribution: IntDistribution, allowed: list[int]) -> None:
    dimension = Dimension(name="x", field="hidden_dim", distribution=distribution, when=(("n_layers", tuple(allowed)),))
    assert Dimension.from_dict(json.loads(json.dumps(dimension.to_dict()))) == dimension


def test_equal_spaces_have_equal_json_in_whatever_order_they_were_written() -> None:
    fixed = {"clip_norm": None, "batch_size": 16}
    left = Space(name="s", dimensions=(), fixed=fixed)
    right = Space(name="s", dimensions=(), fixed=dict(reversed(fixed.items())))
    assert json.dumps(left.to_dict()) == json.dumps(right.to_dict())


@pytest.mark.parametrize("content", [[], {}, {"name": 1, "dimensions": 3}, {"name": "a", "dimensions": [{}]}])
def test_damaged_json_is_reported_as_damage(content: Any) -> None:
    with pytest.raises(CorruptionError, match=r"search space cannot be read \(.*\); restore a copy") as found:
        Space.from_dict(content)
    assert "Error(" not in str(found.value)  # a name of Python's


JSON = load_space("default").to_dict()
VALUES = st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=3)


@given(st.sampled_from(list(places(JSON))), VALUES | st.lists(VALUES, max_size=2) | st.dictionaries(st.text(), VALUES))
def test_a_value_that_was_changed_in_the_json_is_refused_or_harmless(path: Place, value: Any) -> None:
    content = copy.deepcopy(JSON)
    container(content, path)[path[-1]] = value
    message = refusal(Space.from_dict, content, kind=UserError)
    assert "\n" not in message


def test_reading_a_space_leaves_the_filters_of_warnings_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the process's: of two threads that change them, one would leave its own behind."""
    monkeypatch.setattr(warnings, "catch_warnings", None)
    assert Space.from_dict(JSON).to_dict() == JSON


def test_a_description_says_what_is_searched_when_and_what_is_not() -> None:
    rows = load_space("default").describe()
    assert ("lstm_dropout", "float(0, 0.5)", "n_layers in (2, 3)", "searched") in rows
    assert ("embedding_lr_scale", "log(0.1, 1)", "not freeze_embedding", "searched") in rows
    wide = (("hidden_dim", tuple(range(65, 193))),)
    many = Dimension(name="lstm_dropout", field="lstm_dropout", distribution=FloatDistribution(0.0, 0.5), when=wide)
    assert many.describe()[2] == "hidden_dim in (65, 66, ..., 192)"
    assert ("clip_norm", "none", "", "fixed") in load_space("notebook").describe()


def test_a_midpoint_is_in_its_range_and_on_its_grid() -> None:
    space = load_space(
        "notebook", ["hidden_dim=int(100,400,step=100)", "fc_dropout=float(0,0.5,step=0.1)", "learning_rate=log(0.1,1)"]
    )
    values = {dimension.name: midpoint(dimension.distribution) for dimension in space.dimensions}
    assert all(dimension.contains(values[dimension.name]) for dimension in space.dimensions)
    assert values["learning_rate"] == pytest.approx(0.1**0.5)
    assert midpoint(FloatDistribution(0.27, 0.3, step=0.03)) == 0.3  # 0.27 + 0.03 is above it


def test_a_space_with_a_setting_of_a_later_version_is_no_damage() -> None:
    content = copy.deepcopy(JSON)
    content["fixed"] = {"zoneout": 0.1}
    with pytest.raises(UserError, match=r"^another version of sentune has written .*'zoneout'.*; install the version"):
        Space.from_dict(content)
