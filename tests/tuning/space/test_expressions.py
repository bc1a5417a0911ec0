"""Values, ranges and conditions of search spaces, as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from core.errors import ConfigError
from tests.support.expressions import distributions, refusal, values
from tuning.space.expressions import (
    Condition,
    Value,
    equal,
    parse_expression,
    parse_value,
    parse_when,
    show_distribution,
    show_value,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("int(1,3)", IntDistribution(1, 3)),
        (" int( 32 , 256 , log ) ", IntDistribution(32, 256, log=True)),
        ("int(32, 256, step=32)", IntDistribution(32, 256, step=32)),
        ("float(0,0.5)", FloatDistribution(0, 0.5)),
        ("float(0,0.5,step=0.1)", FloatDistribution(0, 0.5, step=0.1)),
        ("float(0.1, 1, log)", FloatDistribution(0.1, 1, log=True)),
        ("log(1e-4,1e-2)", FloatDistribution(1e-4, 1e-2, log=True)),
        ("choice(last,mean+max)", CategoricalDistribution(["last", "mean+max"])),
        (" [last, mean+max] ", CategoricalDistribution(["last", "mean+max"])),
        ("choice(none, 2.0)", CategoricalDistribution([None, 2.0])),
    ],
)
def test_each_form_of_a_range_is_read(text: str, expected: BaseDistribution) -> None:
    assert parse_expression(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("128", 128), ("1e-4", 1e-4), (".5", 0.5), ("True", True), ("false", False), ("none", None), ("max", "max")],
)
def test_plain_values_keep_their_type(text: str, expected: Value) -> None:
    found = parse_expression(text)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("int(1.5, 3)", "'1.5' must be a whole number"),
        ("int(1)", "needs a lowest and a highest value"),
        ("int(3, 1)", "the lowest value must come first, got 3 and 1"),
        ("float(a, 1)", "'a' must be a number"),
        ("log(0, 1)", "a log scale must start above 0, got 0"),
        ("log(1, 2, log)", "cannot read 'log' in 'log\\(1, 2, log\\)'"),
        ("float(0, 1, step=0)", "step must be above 0, got 0"),
        ("float(0, 1, step=1e-9)", "choose at most 1,000,000 steps"),
        ("float(1, 2, log, step=0.5)", "log and step cannot be combined"),
        ("int(32, 256, step=50)", "steps of 50 from 32 do not reach 256; end at 232"),
        ("int(0, 12345678, step=1000)", "; end at 12345000"),
        ("float(0, 1, step=0.3)", "steps of 0.3 from 0 do not reach 1; end at 0.9"),
        ("int(1, 3, 5)", "cannot read '5'"),
        ("normal(0, 1)", "normal is unknown; write one of int"),
        ("choice()", "has an empty choice"),
        ("[]", "'\\[\\]' has an empty choice"),
        ("choice(1, true)", "true occurs twice in one choice"),
        ("choice(a, b(c))", "cannot read 'b\\(c\\)'"),
        ("int(1, 3", "cannot read 'int\\(1, 3'; write a plain value or one of"),
        ("9" * 5000, "is too large; write at most 2\\*\\*53"),
        ("1e999", "is too large"),
        ("__import__('os').system('true')", "cannot read"),
    ],
)
def test_a_range_that_cannot_be_says_why(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse_expression(text)
    assert "\n" not in str(caught.value)


@given(st.text() | st.from_regex(r"(int|float|log|choice)\([-0-9a-z.,= ()]{0,30}\)?", fullmatch=True))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    for read in (parse_expression, parse_when, parse_value):
        assert "\n" not in refusal(read, text)


@given(distributions())
def test_what_is_shown_can_be_written(distribution: BaseDistribution) -> None:
    assert parse_expression(show_distribution(distribution)) == distribution


@given(values)
def test_a_shown_value_reads_back_with_its_type(value: Value) -> None:
    found = parse_value(show_value(value))
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [
        ("n_layers > 1", 2, True),
        ("n_layers>1", 1, False),
        ("n_layers >= 2", 2, True),
        ("n_layers < 2", 2, False),
        ("n_layers <= 2", 2, True),
        ("optimizer == adam", "adam", True),
        ("optimizer != adam", "adam", False),
        ("batch_size in (16, 32)", 32, True),
        ("batch_size in (16, 32)", 50, False),
        ("freeze_embedding", True, True),
        ("not freeze_embedding", False, True),
        ("not freeze_embedding", 0, False),
        ("clip_norm > 0.5", None, False),
        ("clip_norm == none", None, True),
    ],
)
def test_a_condition_holds_for_the_values_it_says(text: str, value: Value, holds: bool) -> None:
    (condition,) = parse_when(text)
    assert condition.allows(value) is holds
    assert parse_when(str(condition)) == (condition,)


def test_clauses_are_joined_by_and() -> None:
    assert parse_when("n_layers > 1 and  not freeze_embedding") == (
        Condition("n_layers", ">", (1,)),
        Condition("freeze_embedding", "==", (False,)),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot read the condition ''; write for example n_layers > 1"),
        ("n_layers >", "cannot read the condition 'n_layers >'"),
        ("n_layers in (1,)", r"cannot read the condition 'n_layers in \(1,\)'; write a value on its right"),
        ("n_layers in (1,,2)", r"cannot read the condition 'n_layers in \(1,,2\)'; write a value on its right"),
        ("n_layers > 1 or bidirectional", "cannot read the condition"),
        ("1 < n_layers", "cannot read the condition"),
        ("1 < n_layers < 3", "cannot read the condition"),
        ("pooling > max", "write a number after >"),
        ("batch_size in 16, 32", "cannot read the condition"),
        ("a and", "cannot read the condition"),
        ("not not a", "cannot read the condition"),
        ("__import__('os')", "cannot read the condition"),
    ],
)
def test_a_condition_that_cannot_be_read_is_quoted(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_when(text)


@given(values)
def test_a_flag_is_never_a_number(value: Value) -> None:
    assert equal(True, value) is (value is True)
    assert equal(False, value) is (value is False)
