"""tuning.analysis.filters: selection and order of rows."""

import pytest

from core.errors import ConfigError
from tests.support.assessed_studies import CONFIG, trial
from tests.support.epochs import epoch
from tests.support.trial_records import NOT_ASSESSED
from tuning.analysis.filters import RowFilter, filter_rows, parse_where
from tuning.analysis.ranking import TrialRow, trial_rows

SEARCHED = ("n_layers", "freeze_embedding", "optimizer", "clip_norm")


def config(**changes: object) -> dict[str, object]:
    return CONFIG.replace(**changes).to_dict()


ROWS = trial_rows(
    [
        trial(0, range(60), config=config(clip_norm=None)),
        trial(1, range(50), state="PRUNED", config=config(n_layers=2, freeze_embedding=True)),
        trial(2, range(40), epochs=(epoch(1, 0.8, seconds=9.0),), config=config(n_layers=3, optimizer="adadelta")),
        trial(3, range(70), state="FAIL", error="TrainingError: NaN", config=config()),
        trial(4, range(70), state="RUNNING", config=config()),
    ],
    SEARCHED,
    NOT_ASSESSED,
)


def numbers(rows: list[TrialRow]) -> list[int]:
    return [row.trial for row in rows]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("n_layers=1", [0, 3]),
        ("n_layers==1", [0, 3]),
        (" n_layers != 1 ", [2, 1]),
        ("n_layers>1", [2, 1]),
        ("n_layers>=3", [2]),
        ("n_layers<2", [0, 3]),
        ("n_layers<=2", [1, 0, 3]),
        ("freeze_embedding=yes", [1]),
        ("freeze_embedding=true", [1]),
        ("freeze_embedding=no", [2, 0, 3]),
        ("freeze_embedding=1", []),
        ("optimizer=adadelta", [2]),
        ("clip_norm=none", [0]),
        ("clip_norm<5", [2, 1, 3]),
        ("val_accuracy>=0.75", [2, 1]),
        ("baseline=no", [2, 1, 3]),
        ("state=PRUNED", [1]),
        ("state=stopped", [1]),
        ("state!=done", [1, 3]),
        ("state!=COMPLETE", [1, 3]),
    ],
)
def test_rows_are_kept_of_which_the_condition_holds(where: str, expected: list[int]) -> None:
    assert numbers(filter_rows(ROWS, RowFilter(where=(parse_where(where),)))) == expected


def test_several_conditions_must_all_hold() -> None:
    both = (parse_where("n_layers>1"), parse_where("freeze_embedding=no"))
    assert numbers(filter_rows(ROWS, RowFilter(where=both))) == [2]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (None, [2, 1, 0, 3]),
        ("done", [2, 0]),
        ("stopped", [1]),
        ("failed", [3]),
        ("running", [4]),
        ("all", [2, 1, 0, 3, 4]),
    ],
)
def test_states_are_asked_for_by_name(state: str | None, expected: list[int]) -> None:
    assert numbers(filter_rows(ROWS, RowFilter(state=state))) == expected


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("rank", [2, 1, 0, 3]),
        ("-rank", [0, 1, 2, 3]),
        ("trial", [0, 1, 2, 3]),
        ("-trial", [3, 2, 1, 0]),
        ("seconds", [1, 0, 3, 2]),
        ("-seconds", [2, 1, 0, 3]),
        ("clip_norm", [2, 1, 3, 0]),
        ("-clip_norm", [2, 1, 3, 0]),
        ("optimizer", [2, 1, 0, 3]),
        ("gain_over_baseline", [0, 1, 2, 3]),
    ],
)
def test_rows_are_sorted_by_any_field_and_those_without_a_value_come_last(sort: str, expected: list[int]) -> None:
    assert numbers(filter_rows(ROWS, RowFilter(sort=sort))) == expected


def test_top_counts_the_ranked_rows_that_are_left_in_their_order() -> None:
    assert numbers(filter_rows(ROWS, RowFilter(top=1))) == [2, 0, 3]  # the baseline, and the failed one
    assert numbers(filter_rows(ROWS, RowFilter(top=1, sort="seconds"))) == [1, 0, 3]
    assert numbers(filter_rows(ROWS, RowFilter(top=1, where=(parse_where("n_layers<3"),)))) == [1, 0, 3]


@pytest.mark.parametrize(
    "text",
    ["", "n_layers", "=1", "n_layers=>1", "n_layers=1=2", "n_layers in (1, 2)", "1<n_layers", "__import__('os')",
     "n_layers=1; x", "a b=1"],
)  # fmt: skip
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"cannot read --where .*write a field, one of = != < <= > >= and a value"):
        parse_where(text)


def test_an_order_needs_a_number() -> None:
    with pytest.raises(ConfigError, match="cannot read --where 'optimizer>adam'; write a number after >"):
        parse_where("optimizer>adam")


def test_unknown_fields_are_named_together_with_the_known_ones() -> None:
    with pytest.raises(
        ConfigError, match=r"no field --where 'layer', --sort 'speed'; choose from rank, trial, .*clip_norm$"
    ):
        filter_rows(ROWS, RowFilter(where=(parse_where("layer=1"),), sort="-speed"))


def test_settings_have_the_short_names_of_the_table_too() -> None:
    """Of those that are searched; `emb.drop` is read, but not searched here."""
    for short, full in (
        ("layers=2", "n_layers=2"),
        ("opt=adadelta", "optimizer=adadelta"),
        ("freeze=yes", "n_layers=2"),
    ):
        chosen = [filter_rows(ROWS, RowFilter(where=(parse_where(text),))) for text in (short, full)]
        assert numbers(chosen[0]) == numbers(chosen[1]) != []
    assert numbers(filter_rows(ROWS, RowFilter(sort="-layers"))) == numbers(
        filter_rows(ROWS, RowFilter(sort="-n_layers"))
    )
    with pytest.raises(ConfigError, match=r"no field --where 'emb\.drop', --sort 'lr'; choose from rank"):
        filter_rows(ROWS, RowFilter(where=(parse_where("emb.drop<0.2"),), sort="lr"))


def test_a_field_that_holds_others_is_no_field() -> None:
    with pytest.raises(ConfigError, match="no field --sort 'params'"):
        filter_rows(ROWS, RowFilter(sort="params"))


def test_a_state_must_be_known() -> None:
    with pytest.raises(
        ConfigError, match="--state must be one of done, stopped, failed, paused, running, all, got 'complete'"
    ):
        RowFilter(state="complete")
