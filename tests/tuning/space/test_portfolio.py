"""The first trials after the baseline: settings of the portfolio or of a file that are in the space."""

import json
from pathlib import Path
from typing import Any

import pytest

from core.config import TrialConfig
from core.errors import ConfigError
from tests.support.assessed_studies import CONFIG, attributes, trial, write_study
from tests.support.study_configs import configured, options
from tuning.analysis.best import table_of
from tuning.analysis.filters import RowFilter
from tuning.space.initial_trials import NOTEBOOK, fit_settings
from tuning.space.load import load_space
from tuning.space.portfolio import MAX_SETTINGS, FirstTrials, first_trials, portfolio
from tuning.space.space import DEFAULTS, Space, validate

QUICK = load_space("quick")


def written(folder: Path, content: str, name: str = "first.yaml") -> str:
    path = folder / name
    path.write_text(content)
    return str(path)


def fitted(space: Space, entry: dict[str, Any]) -> dict[str, Any]:
    found = fit_settings(space, entry)
    assert found is not None
    return found


def test_numbers_are_clipped_to_the_range_and_its_steps() -> None:
    entry = {"hidden_dim": 500, "fc_dropout": 0.05, "optimizer": "adam", "learning_rate": 0.5}
    found = fitted(QUICK, entry)
    assert (found["hidden_dim"], found["fc_dropout"], found["learning_rate"]) == (192, 0.1, 0.01)
    stepped = load_space("quick", ["hidden_dim=int(32,128,step=32)", "fc_dropout=float(0.1,0.4,step=0.1)"])
    found = fitted(stepped, {"hidden_dim": 70, "fc_dropout": 0.6})
    assert (found["hidden_dim"], found["fc_dropout"]) == (64, pytest.approx(0.4))


def test_the_range_of_the_active_condition_clips() -> None:
    space = load_space("default")
    assert fitted(space, {"optimizer": "adadelta", "learning_rate": 0.002})["learning_rate"] == 0.25
    assert fitted(space, {"optimizer": "adam", "learning_rate": 0.002})["learning_rate"] == 0.002


@pytest.mark.parametrize("entry", [{"optimizer": "adadelta"}, {"class_weight": "balanced"}, {"hidden_dim": "large"}])
def test_a_choice_that_the_space_lacks_and_another_fixed_value_do_not_fit(entry: dict[str, Any]) -> None:
    assert fit_settings(QUICK, entry) is None


def test_a_fixed_setting_of_equal_value_fits_and_what_is_not_active_is_ignored() -> None:
    found = fitted(QUICK, {"clip_norm": 1, "class_weight": None, "n_layers": 1, "lstm_dropout": 0.4})
    assert (found["clip_norm"], found["lstm_dropout"]) == (1.0, 0.0)


@pytest.mark.parametrize("name", ["quick", "default"])
def test_the_portfolio_has_settings_that_the_spaces_hold(name: str) -> None:
    space = load_space(name)
    found = first_trials("portfolio", space)
    assert 0 < len(found.settings) <= MAX_SETTINGS
    for settings in found.settings:
        config = TrialConfig(**settings)
        assert space.to_config(space.to_params(config)) == config


def test_a_value_that_the_user_fixes_replaces_that_of_the_portfolio() -> None:
    usual = first_trials("portfolio", QUICK).settings
    found = first_trials("portfolio", load_space("quick", ["fc_dropout=0.3", "clip_norm=2.0"])).settings
    assert found == tuple({**settings, "fc_dropout": 0.3, "clip_norm": 2.0} for settings in usual)


def test_a_learning_rate_that_the_user_fixes_keeps_the_entries_of_its_optimizers() -> None:
    usual = first_trials("portfolio", load_space("default")).settings
    found = first_trials("portfolio", load_space("default", ["learning_rate_adam=0.001"])).settings
    rates = {each["learning_rate"] for each in found if each["optimizer"] in ("adam", "adamw")}
    assert len(found) == len(usual)
    assert rates == {0.001}


def test_a_file_with_the_name_of_a_source_is_not_the_source(tmp_path: Path) -> None:
    (tmp_path / "random").write_text("- {hidden_dim: 50}")
    found = first_trials(str(tmp_path / "random"), QUICK).to_dict()
    assert found is not None
    assert (found["source"], found["trials"]) == ("./random", 1)


def test_the_portfolios_entries_are_whole_and_valid() -> None:
    searched = {dimension.field for dimension in load_space("default").dimensions}
    assert validate((), {}, portfolio()) == []
    assert all(entry.keys() == searched for entry in portfolio())


def test_a_space_that_holds_none_of_the_portfolio_starts_without_it() -> None:
    """The space `notebook` has one optimizer and one pooling."""
    assert first_trials("portfolio", load_space("notebook")).settings == ()
    assert first_trials("random", QUICK) == FirstTrials()


def test_entries_that_are_equal_after_clipping_appear_once(tmp_path: Path) -> None:
    path = written(tmp_path, "- {hidden_dim: 300}\n- {hidden_dim: 400}\n- {optimizer: adadelta}\n- {hidden_dim: 50}\n")
    found = first_trials(path, QUICK)
    assert [settings["hidden_dim"] for settings in found.settings] == [192, 50]
    assert (found.source, found.left_out) == ("first.yaml", 1)


def test_the_baseline_and_what_the_space_tries_first_are_not_repeated(tmp_path: Path) -> None:
    space = load_space(written(tmp_path, "extends: quick\ntry_first: [{hidden_dim: 77}]\n", "space.yaml"))
    path = written(tmp_path, json.dumps({"made": "by hand", "settings": [{"hidden_dim": 77}, {"hidden_dim": 78}]}))
    assert [settings["hidden_dim"] for settings in first_trials(path, space).settings] == [78]


def test_without_a_baseline_its_settings_may_be_a_first_trial(tmp_path: Path) -> None:
    path = written(tmp_path, json.dumps([NOTEBOOK]))
    for no_baseline, found in ((False, ()), (True, (NOTEBOOK,))):
        chosen = options(tmp_path, space="notebook", first_trials=path, no_baseline=no_baseline)
        assert configured(chosen).first_trials.settings == found


def test_json_that_is_indented_by_tabs_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, json.dumps({"settings": [{"hidden_dim": 50}]}, indent="\t"))
    assert [settings["hidden_dim"] for settings in first_trials(path, QUICK).settings] == [50]


def test_json_and_yaml_are_read_alike(tmp_path: Path) -> None:
    entries = [{"learning_rate": 1e-3, "freeze_embedding": True, "clip_norm": 1.0, "ema_decay": None}]
    yaml = "- {learning_rate: 1e-3, freeze_embedding: true, clip_norm: 1, ema_decay: none}"
    paths = (written(tmp_path, json.dumps(entries), "a.json"), written(tmp_path, yaml, "a.yaml"))
    left, right = (first_trials(path, QUICK) for path in paths)
    assert left.settings == right.settings
    assert left.settings[0]["learning_rate"] == 0.001


def test_the_output_of_best_is_a_file_of_first_trials(tmp_path: Path) -> None:
    """Its entries have the settings under `params`; the plain baseline and the majority class have none."""
    best = first_trials("portfolio", QUICK).settings[2]
    trials = [trial(0, range(60)), trial(1, range(40), config=TrialConfig.from_dict(CONFIG.to_dict() | best).to_dict())]
    write_study(tmp_path / "s", trials, attributes())
    path = written(tmp_path, table_of(tmp_path / "s", RowFilter(top=1), "json"), "best.json")
    assert [row["trial"] for row in json.loads(Path(path).read_text())] == [1, 0, "major"]
    assert best in first_trials(path, QUICK).settings
    with pytest.raises(ConfigError, match=r"best\.json: no entry has a configuration; pass the output of a study with"):
        first_trials(written(tmp_path, '[{"trial": "major", "params": {}}]', "best.json"), QUICK)
    rows = '[{"state": "FAIL", "params": {"hidden_dim": 50}}, {"state": "COMPLETE", "params": {"hidden_dim": 60}}]'
    (only,) = first_trials(written(tmp_path, rows, "best.json"), QUICK).settings
    assert only["hidden_dim"] == 60


def test_the_spec_names_the_source_and_changes_with_the_settings(tmp_path: Path) -> None:
    one, two = (first_trials(written(tmp_path, f"- {{hidden_dim: {size}}}"), QUICK).to_dict() for size in (50, 51))
    assert one is not None
    assert two is not None
    assert (one["source"], one["trials"]) == ("first.yaml", 1)
    assert one["sha256"] != two["sha256"]
    assert FirstTrials().to_dict() is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("- {hidden_dim: 50}\n- {hiden_dim: 50}", r"entry 2: there is no setting 'hiden_dim'; did you mean hidden_dim"),
        ("- {pooling: middle}", r"entry 1: pooling must be .*, got 'middle'"),
        ("- {epochs: 3}", r"entry 1: epochs is the same for all trials of a study"),
        ("- 7", r"entry 1: it must be a mapping such as \{hidden_dim: 128"),
        ("- {hidden_dim: [1, 2]}", r"entry 1: 'hidden_dim' must have one plain value, not a list"),
        ("- {hidden_dim: 1e99}", r"entry 1: 'hidden_dim': '1e99' is too large"),
        ("- {learning_rate: 'log(0.1, 1)'}", r"entry 1: 'learning_rate': cannot read"),
        ("hidden_dim: 50", r"write a list of configurations, or a mapping with such a list under `settings`"),
        ("[]", r"write a list of configurations"),
        ('- "\\UFFFFFFFF"', r"neither JSON nor YAML \(.*\); fix the file"),
        ("- [", r"neither JSON nor YAML \(.*\); fix the file"),
        ("- &a {hidden_dim: *a}", r":1: \*a is an alias; write its content instead"),
        ("- {pooling: max}\n- {hidden_dim: 64, hidden_dim: 100}", r", line 2: 'hidden_dim' occurs twice; remove one"),
        ("- &x {pooling: max}\n- *x", r":2: \*x is an alias; write its content instead"),
        ("- {optimizer: adadelta}\n- {clip_norm: 2}", r"all of its 2 entries are outside the space 'quick'; change"),
    ],
)
def test_a_bad_file_is_refused_with_its_entry(tmp_path: Path, content: str, said: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(ConfigError, match=f"^--first-trials {path}.*{said}") as caught:
        first_trials(path, QUICK)
    assert "\n" not in str(caught.value)


def test_unknown_settings_of_a_file_share_one_list_of_the_known_ones(tmp_path: Path) -> None:
    path = written(tmp_path, "- {rank: 1, zz: 2}\n- {rank: 3, pooling: middle}\n")
    with pytest.raises(ConfigError, match="entry 1: there is no setting 'rank'; choose from n_layers, ") as caught:
        first_trials(path, QUICK)
    assert str(caught.value).count("choose from") == 1
    for problem in ("entry 1: there is no setting 'zz'; ", "entry 2: there is no setting 'rank'; ", "got 'middle'"):
        assert problem in str(caught.value)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"there is no file of first trials 'gone.yaml'; pass portfolio, random, or"):
        first_trials("gone.yaml", QUICK)


def test_an_equal_number_in_another_form_does_not_change_the_first_trials_of_a_study() -> None:
    """A study with `--set clip_norm=5` continues with 5.0."""
    recorded = load_space("quick", ["clip_norm=5"])
    again = load_space("quick", ["clip_norm=5.0"]).ordered_as(Space.from_dict(recorded.to_dict()))
    assert first_trials("portfolio", again).to_dict() == first_trials("portfolio", recorded).to_dict()


def test_a_newer_setting_leaves_the_digest_of_the_spec_as_it_is() -> None:
    """Otherwise no study with first trials continues."""
    newer = {**DEFAULTS, "hidden_dim": 50}
    older = {name: value for name, value in newer.items() if name != "inexact_lazy_adam"}
    one, two = (FirstTrials(source="a.yaml", settings=(each,)).to_dict() for each in (newer, older))
    assert one == two
