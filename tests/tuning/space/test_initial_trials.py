"""The trials of a study before the sampler's suggestions."""

from pathlib import Path

import pytest

from core.config import TrialConfig
from core.errors import ConfigError
from tuning.space.initial_trials import complete_settings, initial_trials
from tuning.space.load import load_space
from tuning.space.presets import PRESETS
from tuning.space.space import STUDY_FIELDS, Space


def read(folder: Path, text: str) -> Space:
    path = folder / "space.yaml"
    path.write_text(text)
    return load_space(str(path))


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_the_notebook_comes_first_with_all_its_settings(name: str) -> None:
    first = initial_trials(load_space(name))[0]
    assert TrialConfig(**first) == TrialConfig.notebook()


def test_the_run_keeps_its_own_settings() -> None:
    assert not set(initial_trials(load_space("default"))[0]) & set(STUDY_FIELDS)


def test_a_partial_entry_takes_fixed_values_then_defaults_then_the_notebooks_then_the_middle(tmp_path: Path) -> None:
    space = read(
        tmp_path,
        """
settings:
  clip_norm: 3.0
  optimizer: [adam, adadelta]
  fc_dropout: float(0.1, 0.6)
  learning_rate_adam: {field: learning_rate, range: "log(4e-3, 9e-3)", when: optimizer == adam}
  learning_rate_adadelta: {field: learning_rate, range: "log(0.1, 1)", when: optimizer == adadelta}
try_first:
  - {optimizer: adadelta}
  - {optimizer: adam}
""",
    )
    adadelta, adam = initial_trials(space)[1:]
    assert (adadelta["clip_norm"], adadelta["fc_dropout"], adadelta["learning_rate"]) == (3.0, 0.5, 0.25)
    assert adam["learning_rate"] == pytest.approx(6e-3)


def test_the_middle_of_a_stepped_range_is_one_of_its_steps(tmp_path: Path) -> None:
    space = read(tmp_path, "settings: {hidden_dim: 'int(16, 48, step=8)', pooling: [mean, max], n_layers: 'int(3, 7)'}")
    settings = complete_settings(space, {})
    assert (settings["hidden_dim"], settings["pooling"], settings["n_layers"]) == (32, "max", 5)
    assert all(d.contains(settings[d.field]) for d in space.dimensions)


def test_a_conditional_entry_is_filled_up_only_where_it_is_active(tmp_path: Path) -> None:
    space = read(
        tmp_path,
        """
settings:
  n_layers: int(1, 3)
  lstm_dropout: {range: "float(0.3, 0.5)", when: n_layers > 1}
try_first:
  - {n_layers: 1}
  - {n_layers: 3}
""",
    )
    one, three = initial_trials(space)[1:]
    assert (one["lstm_dropout"], three["lstm_dropout"]) == (0.0, 0.4)


def test_a_parameter_name_fills_its_setting(tmp_path: Path) -> None:
    space = read(tmp_path, "extends: default\ntry_first: [{optimizer: adam, learning_rate_adam: 0.004}]")
    assert initial_trials(space)[1]["learning_rate"] == 0.004
    assert space.try_first == ({"optimizer": "adam", "learning_rate": 0.004},)


def test_an_entry_may_lie_outside_of_the_space(tmp_path: Path) -> None:
    space = read(tmp_path, "extends: default\ntry_first: [{hidden_dim: 1024, clip_norm: none}]")
    tried = initial_trials(space)[1]
    assert (tried["hidden_dim"], tried["clip_norm"]) == (1024, None)


def test_a_whole_number_is_the_same_value_as_one_that_is_drawn(tmp_path: Path) -> None:
    space = read(tmp_path, "extends: default\nsettings: {fc_dropout: 'float(0, 0.2, step=0.1)'}")
    assert repr(complete_settings(space, {"fc_dropout": 0})["fc_dropout"]) == "0.0"


def test_no_setting_is_tried_twice(tmp_path: Path) -> None:
    space = read(tmp_path, "extends: default\ntry_first: [{hidden_dim: 64}, {hidden_dim: 64}]")
    assert len(initial_trials(space)) == 2


def test_a_parameter_that_its_own_entry_switches_off_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"learning_rate_adam is not searched with .*optimizer adadelta"):
        complete_settings(load_space("default"), {"optimizer": "adadelta", "learning_rate_adam": 0.002})
