"""Spaces by name, from YAML files and with `--set` on top; every mistake with its line."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from core.config import TrialConfig
from core.errors import ConfigError
from tests.support.expressions import refusal
from tuning.space.load import load_space
from tuning.space.presets import PRESETS
from tuning.space.space import Space


def read(folder: Path, text: str, *overrides: str, random_vectors: bool = False) -> Space:
    path = folder / "space.yaml"
    path.write_text(text, encoding="utf-8")
    return load_space(str(path), overrides, random_vectors=random_vectors)


def by_name(space: Space) -> dict[str, object]:
    return {dimension.name: dimension.distribution for dimension in space.dimensions}


EXAMPLE = """\
settings:
  hidden_dim: int(64, 256, log)
  pooling: [last, max]
  batch_size: choice(16, 32)
  clip_norm: none
  optimizer: ["adam", 'adadelta']
  n_layers: int(1, 3)
  lstm_dropout:
    range: float(0, 0.5)
    when: n_layers > 1
  learning_rate_adam:
    field: learning_rate
    range: log(3e-4, 1e-2)
    when: [optimizer == adam, n_layers < 3]
try_first:
  - {hidden_dim: 200, optimizer: adam}
"""


def test_a_file_becomes_a_space(tmp_path: Path) -> None:
    space = read(tmp_path, EXAMPLE)
    assert space.name == "space"
    assert by_name(space) == {
        "hidden_dim": IntDistribution(64, 256, log=True),
        "pooling": CategoricalDistribution(["last", "max"]),
        "batch_size": CategoricalDistribution([16, 32]),
        "optimizer": CategoricalDistribution(["adam", "adadelta"]),
        "n_layers": IntDistribution(1, 3),
        "lstm_dropout": FloatDistribution(0, 0.5),
        "learning_rate_adam": FloatDistribution(3e-4, 1e-2, log=True),
    }
    assert space.dimensions[5].when == (("n_layers", (2, 3)),)
    assert space.dimensions[6].field == "learning_rate"
    assert space.dimensions[6].when == (("optimizer", ("adam",)), ("n_layers", (1, 2)))
    assert space.fixed == {"clip_norm": None}
    assert space.try_first == ({"hidden_dim": 200, "optimizer": "adam"},)


def test_a_condition_may_come_before_what_it_depends_on(tmp_path: Path) -> None:
    space = read(
        tmp_path, "settings: {lstm_dropout: {range: 'float(0, 0.5)', when: n_layers > 1}, n_layers: 'int(1, 3)'}"
    )
    assert [dimension.name for dimension in space.dimensions] == ["n_layers", "lstm_dropout"]


def test_several_clauses_on_one_setting_must_all_hold(tmp_path: Path) -> None:
    searched = "{range: 'float(0, 0.5)', when: n_layers > 1 and n_layers != 3}"
    text = f"settings: {{n_layers: 'int(1, 4)', lstm_dropout: {searched}}}"
    assert read(tmp_path, text).dimensions[1].when == (("n_layers", (2, 4)),)


def test_a_condition_may_be_on_a_setting_that_is_not_searched(tmp_path: Path) -> None:
    space = read(tmp_path, "settings: {n_layers: 2, lstm_dropout: {range: 'float(0, 0.5)', when: n_layers > 1}}")
    assert space.dimensions[0].when == (("n_layers", (2,)),)
    assert space.to_config({"lstm_dropout": 0.25}) == TrialConfig(n_layers=2, lstm_dropout=0.25)


def test_a_value_under_a_condition_is_used_only_there(tmp_path: Path) -> None:
    text = "settings: {freeze_embedding: [true, false], weight_decay: {range: 0.001, when: not freeze_embedding}}"
    space = read(tmp_path, text)
    assert space.to_config({"freeze_embedding": True}).weight_decay == 0
    assert space.to_config({"freeze_embedding": False, "weight_decay": 0.001}).weight_decay == 0.001


def test_a_fixed_setting_is_the_value_where_no_range_is_active(tmp_path: Path) -> None:
    text = """
settings:
  optimizer: [adam, adadelta]
  learning_rate: 0.25
  learning_rate_adam: {field: learning_rate, range: "log(1e-4, 1e-2)", when: optimizer == adam}
"""
    assert read(tmp_path, text).to_config({"optimizer": "adadelta"}).learning_rate == 0.25


def test_a_file_may_extend_a_preset(tmp_path: Path) -> None:
    space = read(tmp_path, "extends: default\nsettings:\n  hidden_dim: int(8, 16)\n  lstm_dropout: float(0.1, 0.2)")
    default = by_name(load_space("default"))
    changed = {"hidden_dim": IntDistribution(8, 16), "lstm_dropout": FloatDistribution(0.1, 0.2)}
    assert by_name(space) == default | changed
    assert next(d for d in space.dimensions if d.name == "lstm_dropout").when == (("n_layers", (2, 3)),)


def test_set_replaces_a_range_and_keeps_its_condition() -> None:
    space = load_space("default", ["lstm_dropout=float(0, 0.9)", "n_layers=int(1, 4)"])
    dimension = next(d for d in space.dimensions if d.name == "lstm_dropout")
    assert (dimension.distribution, dimension.when) == (FloatDistribution(0, 0.9), (("n_layers", (2, 3, 4)),))


def test_set_fixes_a_setting_and_drops_what_can_no_longer_be_active() -> None:
    space = load_space("default", ["optimizer=adadelta", "n_layers = 1"])
    assert {"optimizer", "n_layers", "learning_rate_adam", "lstm_dropout"}.isdisjoint(by_name(space))
    assert "learning_rate_adadelta" in by_name(space)
    assert space.fixed == {"optimizer": "adadelta"}


def test_a_range_that_is_given_with_a_value_that_excludes_it_is_refused() -> None:
    never = "the condition optimizer == adamw can never hold: optimizer is adam; leave this setting out, or write"
    message = f"--set 'weight_decay=.*': {never}"
    with pytest.raises(ConfigError, match=message):
        load_space("quick", ["optimizer=adam", "weight_decay=log(1e-5,1e-2)"])
    whole, adam = (by_name(load_space("quick", each)) for each in ([], ["optimizer=adam"]))
    assert whole.keys() - adam.keys() == {"optimizer", "weight_decay"}


def test_set_cannot_make_a_condition_of_the_file_unusable(tmp_path: Path) -> None:
    text = "settings: {learning_rate: [0.01, 0.1], clip_norm: {range: [1.0, 5.0], when: learning_rate == 0.01}}"
    message = "space.yaml:1: the condition learning_rate == 0.01 cannot be used: learning_rate has too many values"
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, text, "learning_rate=log(1e-3,1e-2)")


def test_set_drops_what_depends_on_a_range_that_it_drops(tmp_path: Path) -> None:
    text = """
settings:
  hidden_dim: int(8, 16)
  optimizer: [adam, adadelta]
  learning_rate_adam: {field: learning_rate, range: [0.001, 0.01], when: optimizer == adam}
  clip_norm: {range: [1.0, 5.0], when: learning_rate_adam == 0.01}
"""
    assert by_name(read(tmp_path, text, "optimizer=adadelta")).keys() == {"hidden_dim"}


def test_set_drops_what_depends_on_a_setting_that_it_drops(tmp_path: Path) -> None:
    text = """
settings:
  n_layers: int(1, 3)
  bidirectional: {range: [true, false], when: n_layers == 1}
  hidden_dim: {range: "int(8, 16)", when: bidirectional}
  fc_dropout: float(0, 0.5)
"""
    assert by_name(read(tmp_path, text, "n_layers=2")).keys() == {"fc_dropout"}


@pytest.mark.parametrize("name", ["lr", "learning_rate"])
def test_set_on_a_setting_with_several_ranges_replaces_them_all(name: str) -> None:
    space = load_space("default", [f"{name}=log(1e-4,1e-2)"])
    found = {d.name: d.distribution for d in space.dimensions if d.field == "learning_rate"}
    assert found == {"learning_rate": FloatDistribution(1e-4, 1e-2, log=True)}


def test_set_accepts_the_names_of_the_tables() -> None:
    space = load_space("default", ["hidden=32", "drop=0.25", "emb.lr=0.5"])
    assert space.fixed == {"hidden_dim": 32, "fc_dropout": 0.25, "embedding_lr_scale": 0.5}


def test_set_on_one_of_several_ranges_leaves_the_others() -> None:
    space = load_space("default", ["learning_rate_adam=0.002"])
    assert by_name(space)["learning_rate_adam"] == CategoricalDistribution([0.002])
    assert by_name(space)["learning_rate_adadelta"] == by_name(load_space("default"))["learning_rate_adadelta"]


def test_set_can_search_what_the_space_does_not() -> None:
    space = load_space("notebook", ["weight_decay=log(1e-6, 1e-3)", "bidirectional=choice(true, false)"])
    assert {"weight_decay", "bidirectional"} <= set(by_name(space))
    assert "bidirectional" not in space.fixed


@pytest.mark.parametrize(
    ("override", "tried"),
    [
        ("lr=0.001", {"optimizer": "adam", "hidden_dim": 64}),
        ("hidden_dim=int(100, 120)", {"optimizer": "adam", "learning_rate": 0.004, "hidden_dim": 100}),
        ("optimizer=[adamw, rmsprop]", {"optimizer": "adamw", "learning_rate": 0.004, "hidden_dim": 64}),
        ("optimizer=adadelta", {"learning_rate": 0.25, "hidden_dim": 64}),
        ("learning_rate_adam=log(1e-4, 1e-3)", {"optimizer": "adam", "learning_rate": 0.001, "hidden_dim": 64}),
        ("learning_rate_rmsprop=log(1e-4, 1e-3)", {"optimizer": "adam", "learning_rate": 0.004, "hidden_dim": 64}),
    ],
)
def test_what_to_try_first_obeys_set(tmp_path: Path, override: str, tried: dict[str, object]) -> None:
    """A trial with another learning rate than the one that --set fixes would be compared with the others unnoticed."""
    text = "extends: default\ntry_first: [{optimizer: adam, learning_rate_adam: 0.004, hidden_dim: 64}]"
    space = read(tmp_path, text, override)
    assert space.try_first == (tried,)


TWO_RANGES = """
settings:
  optimizer: [adam, rmsprop]
  learning_rate: {range: "log(1e-4, 1e-3)", when: optimizer == rmsprop}
  learning_rate_adam: {field: learning_rate, range: "log(1e-3, 1e-2)", when: optimizer == adam}
try_first: [{optimizer: adam, learning_rate: 0.005}]
"""


def test_what_to_try_first_keeps_no_value_of_another_range(tmp_path: Path) -> None:
    (tried,) = read(tmp_path, TWO_RANGES, "optimizer=rmsprop").try_first
    assert float(tried["learning_rate"]) <= 0.001  # type: ignore[arg-type]  # a number


def test_a_value_that_set_fixes_replaces_the_other_ranges_of_its_setting(tmp_path: Path) -> None:
    space = read(tmp_path, TWO_RANGES, "learning_rate=0.003")
    assert (space.searched_fields, space.fixed) == (["optimizer"], {"learning_rate": 0.003})
    assert space.try_first == ({"optimizer": "adam"},)


@pytest.mark.parametrize("override", ["optimizer=adamw", "n_layers=2"])
def test_set_keeps_what_to_try_first_where_it_becomes_active(tmp_path: Path, override: str) -> None:
    text = "extends: default\ntry_first: [{weight_decay: 0.01, lstm_dropout: 0.3}]"
    assert read(tmp_path, text, override).try_first == ({"weight_decay": 0.01, "lstm_dropout": 0.3},)


def test_set_leaves_other_settings_of_what_to_try_first(tmp_path: Path) -> None:
    """Also a setting that the file searches in another case only."""
    text = """
settings:
  optimizer: [adam, adadelta]
  learning_rate_adam: {field: learning_rate, range: "log(3e-4, 1e-2)", when: optimizer == adam}
try_first: [{optimizer: adadelta, learning_rate: 0.5}]
"""
    assert read(tmp_path, text, "clip_norm=1.0").try_first == read(tmp_path, text).try_first
    assert read(tmp_path, text, "optimizer=adam").try_first == ({"learning_rate": 0.002},)


def test_random_vectors_are_trained_in_files_that_extend_quick_or_default(tmp_path: Path) -> None:
    """Unless the file says something else."""
    plain = read(tmp_path, "extends: quick\nsettings:\n  hidden_dim: int(8, 16)", random_vectors=True)
    assert {"freeze_embedding", "embedding_lr_scale"}.isdisjoint(plain.searched_fields)
    own = read(tmp_path, "extends: quick\nsettings: {freeze_embedding: true}", random_vectors=True)
    assert own.fixed["freeze_embedding"] is True
    other = read(tmp_path, "extends: notebook\nsettings: {hidden_dim: 8}", random_vectors=True)
    assert "freeze_embedding" in other.searched_fields


def test_a_file_may_be_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    read(tmp_path, EXAMPLE)
    assert load_space("~/space.yaml").name == "space"


def test_a_folder_is_no_space(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^cannot read the search space '.+': Is a directory; pass one of default"):
        load_space(str(tmp_path))


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_bytes(b"settings:\n  pooling: \xff\n")
    with pytest.raises(ConfigError, match=r"space.yaml is not UTF-8 \(byte 21\)"):
        load_space(str(path))


def test_a_space_that_searches_nothing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fixed.yaml"
    path.write_text("settings: {hidden_dim: 64}")
    with pytest.raises(ConfigError, match=r"fixed.yaml: nothing is searched; write a range for at least one setting"):
        load_space(str(path))
    path.write_text("settings: {hidden_dim: 'int(8, 16)'}")
    with pytest.raises(ConfigError, match=r"fixed.yaml: nothing is searched; write a range for at least one setting"):
        load_space(str(path), ["hidden_dim=8"])


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is larger than 100,000 bytes"):
        read(tmp_path, "#" * 100_001)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "yaml: nothing is searched; write `settings:`"),
        ("- a", ":1: a search space must be a mapping"),
        ("a: [", ":1: this is not YAML: expected the node content"),
        ("settings: {a: 1}\n---\nsettings: {}", ":2: this is not YAML: but found another document"),
        ("settings:\n\thidden_dim: 3", ":2: this is not YAML: found character '.*t' that cannot start any token"),
        ("settings: \x01", "yaml: this is not YAML: unacceptable character"),
        ('settings: "\\UFFFFFFFF"', "yaml: this is not YAML"),
        ("[" * 600, "yaml(:1)?: this is not YAML: (maximum recursion depth|expected the node)"),  # by Python's limit
        ("setings: {}", ":1: 'setings' is unknown here; a search space can contain extends, settings, try_first"),
        ("extends: mine", ":1: extends must be one of default, notebook, quick, got 'mine'"),
        ("extends: [default]", ":1: extends must be plain text"),
        ("settings: 3", ":1: settings must be a mapping"),
        ("settings:\n  hidden_dim: 3\n  hidden_dim: 4", ":3: 'hidden_dim' occurs twice"),
        ("settings:\n  [a]: 3", ":2: a name must be plain text"),
        ("settings:\n  Hidden: int(1, 3)", ":2: 'Hidden' cannot be the name of a setting"),
        ("settings:\n  hidden: 3", ":2: there is no setting 'hidden'; did you mean hidden_dim"),
        ("settings:\n  seed: int(1, 9)", ":2: seed is the same for all trials"),
        ("settings:\n  hidden_dim: int(1, x)", ":2: 'int\\(1, x\\)': 'x' must be a whole number"),
        ("settings:\n  fc_dropout: float(0.5, 1.5)", ":2: fc_dropout must be at least 0 and below 1, got 1.5"),
        ("settings:\n  pooling: [max, min]", ":2: pooling must be one of .* got 'min'"),
        ("settings:\n  pooling: [[max]]", ":2: a value must be plain text"),
        ("settings:\n  n_layers: {range: int(1, 3)}", ":2: cannot read 'int.1'.*; inside { } or . . put it in quotes"),
        (
            "settings:\n  optimizer: [adam, adamw]\n  weight_decay: {range: 0.1, when: optimizer in (adam, adamw)}",
            ":3: cannot read the condition 'optimizer in .adam'.*; inside { } or . . put it in quotes",
        ),
        (
            "extends: quick\nsettings:\n  weight_decay: {range: 0.1, when: optimizer != Adam}",
            ":3: the condition optimizer != Adam cannot be used: optimizer must be one of .* got 'Adam'",
        ),
        (
            "extends: quick\nsettings:\n  weight_decay: {range: 0.1, when: optimizer == Adam}",
            ":3: the condition optimizer == Adam cannot be used: optimizer must be one of .* got 'Adam'$",
        ),
        ("settings:\n  pooling: []", ":2: a choice needs at least one value"),
        ("settings:\n  bidirectional: yes", ":2: bidirectional must be true or false, got 'yes'"),
        ("settings:\n  lstm_dropout: {when: n_layers > 1}", ":2: lstm_dropout needs `range:`"),
        ("settings:\n  lstm_dropout: {range: 0.1, if: x}", ":2: 'if' is unknown here; lstm_dropout can contain range"),
        (
            "settings:\n  n_layers: 1\n  lstm_dropout:\n    range: float(0, 0.5)\n    when: n_layers > 1",
            ":4: the condition n_layers > 1 can never hold: n_layers is 1",
        ),
        (
            "settings:\n  n_layers: int(1, 3)\n"
            "  lstm_dropout: {range: 'float(0, 0.5)', when: n_layers > 2 and n_layers < 2}",
            ":3: the conditions on n_layers can never hold together; remove one of them$",
        ),
        (
            "settings:\n  optimizer: [adam, adamw]\n"
            "  weight_decay: {range: 'float(0, 0.5)', when: [optimizer == adam, optimizer == adamw]}",
            ":3: the conditions on optimizer can never hold together; remove one of them$",
        ),
        ("settings: {hidden_dim: &x 3, n_layers: *x}", ":1: \\*x is an alias; write its content instead"),
        (
            "settings: {lstm_dropout: {range: 'float(0, 0.5)', when: layers > 1}}",
            ":1: the condition layers > 1 cannot be used: there is no setting 'layers'; did you mean n_layers",
        ),
        (
            "settings: {fc_dropout: 'float(0, 0.5)', lstm_dropout: {range: 'float(0, 0.5)', when: fc_dropout > 0.1}}",
            ":1: the condition fc_dropout > 0.1 cannot be used: fc_dropout has too many values",
        ),
        (
            "extends: default\nsettings: {weight_decay: {range: 'float(0, 0.5)', when: learning_rate > 0.1}}",
            ":2: .* learning_rate has several ranges; name one of learning_rate_adam, learning_rate_adadelta",
        ),
        (
            "settings:\n  weight_decay: {range: 'float(0, 0.5)', when: learning_rate > 0.1}\n"
            "  optimizer: [adam, adadelta]\n"
            "  learning_rate_adam: {field: learning_rate, range: 'log(0.1, 1)', when: optimizer == adam}",
            ":2: the condition learning_rate > 0.1 cannot be used: learning_rate has several ranges; name one of",
        ),
        (
            "settings:\n  n_layers: {range: 'int(1, 3)', when: bidirectional}\n"
            "  bidirectional: {range: [true, false], when: n_layers > 1}",
            ":2: the conditions of n_layers, bidirectional depend on one another",
        ),
        (
            "settings:\n  rate: {field: learning_rate, range: 'log(0.1, 1)'}\n  learning_rate: log(1, 2)",
            ":3: rate and learning_rate both set learning_rate and can be active together",
        ),
        ("settings: {n_layers: {range: 'int(1, 3)', when: {}}}", ":1: when must be plain text"),
        ("settings: {n_layers: {range: 'int(1, 3)', when: a or b}}", ":1: cannot read the condition 'a or b'"),
        ("settings: {n_layers: {range: 'int(1, 3)', field: []}}", ":1: field must be plain text"),
        ("extends: default\ntry_first: 3", ":2: try_first must be a list"),
        ("extends: default\ntry_first:\n- 3", ":3: an entry of try_first must be a mapping"),
        (
            "extends: default\ntry_first:\n- {hiden_dim: 3}",
            ":3: there is no setting 'hiden_dim'; did you mean hidden_dim",
        ),
        ("extends: default\ntry_first:\n- {hidden_dim: 0}", ":3: hidden_dim must be a whole number .* got 0"),
        ("extends: default\ntry_first:\n- {seed: 3}", ":3: seed is the same for all trials"),
        (
            "extends: default\ntry_first:\n- {optimizer: adadelta, learning_rate_adam: 0.01}",
            ":3: learning_rate_adam is not searched with",
        ),
        ("settings: {n_layers: !!python/name:os.system x}", ":1: n_layers must be a whole number from 1 to 8, got 'x'"),
    ],
)
def test_a_mistake_in_a_file_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_all_mistakes_in_a_file_are_named_at_once(tmp_path: Path) -> None:
    text = "settings:\n  hidden_dim: int(9, 1)\n  pooling: choice()\n  n_layers: {range: log(0, 1), when: x y}\nsize: 1"
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text, "n_layers")
    for place in (
        "yaml:2: ",
        "yaml:3: ",
        "yaml:4: cannot read 'log(0'",
        "yaml:4: cannot read the condition",
        "yaml:5: ",
        "--set 'n_layers'",
    ):
        assert place in str(caught.value)


def test_ranges_that_can_be_active_together_are_named_once_each(tmp_path: Path) -> None:
    ranges = "".join(f"  rate_{at}: {{field: learning_rate, range: 'log(0.1, 1)'}}\n" for at in range(30))
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, f"settings:\n{ranges}")
    assert str(caught.value).count("can be active together") == 29


def test_all_broken_rules_in_a_file_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r":2: fc_dropout .*:3: hidden_dim .*:4: there is no setting 'x'.*:5: 'Y' cannot be"
    ):
        read(tmp_path, "settings:\n  fc_dropout: float(0, 1)\n  hidden_dim: int(0, 3)\n  x: 1\n  Y: int(1, 2)")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("hidden_dim", "--set 'hidden_dim': write setting=value, for example"),
        ("=3", "--set '=3': write setting=value"),
        ("hidden_dim=", "--set 'hidden_dim=': write setting=value"),
        ("hiden=3", "--set 'hiden=3': there is no setting 'hiden'"),
        ("epochs=3", "--set 'epochs=3': epochs is the same for all trials of a study"),
        ("hidden_dim=int(0, 3)", "--set 'hidden_dim=int\\(0, 3\\)': hidden_dim must be a whole number .* got 0"),
        ("pooling=choice(max", "--set 'pooling=choice\\(max': cannot read 'choice\\(max'"),
    ],
)
def test_a_mistake_in_a_set_quotes_it(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_space("default", [override])


def test_a_setting_given_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="--set 'learning_rate' is given twice"):
        load_space("default", ["lr=0.1", "learning_rate=0.2"])


_LINES = st.lists(
    st.from_regex(r" {0,4}[a-z_]{0,14}:? ?[-0-9a-z.,=()\[\]{}!&*#'\" >]{0,24}", fullmatch=True)
    | st.sampled_from(EXAMPLE.splitlines()),
    max_size=12,
)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_LINES.map("\n".join) | st.text(max_size=200))
def test_any_file_is_read_or_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "space.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    message = refusal(load_space, str(path))
    assert "\n" not in message
    if not message:
        space = load_space(str(path))
        assert Space.from_dict(space.to_dict()) == space


@pytest.mark.slow
@given(
    st.sampled_from(sorted(PRESETS)),
    st.lists(st.text(max_size=30) | st.from_regex(r"[a-z_]{2,12}=[a-z0-9(), .]{1,20}")),
)
@example("quick", ["a\nb=0"] * 2)
def test_any_set_is_read_or_refused_in_one_line(name: str, overrides: list[str]) -> None:
    assert "\n" not in refusal(load_space, name, overrides)
