"""Text that is made safe to show."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.io.text import escape_markdown, last_part, one_line, printable, redact_uris, without_folders


def test_printable_shows_what_would_steer_a_terminal() -> None:
    assert printable("a\x1b[31m\u202eb\nc\x9b\u2028") == r"a\x1b[31m\u202eb\nc\x9b\u2028"
    assert printable("\U000e0041\ud800") == r"\U000e0041\ud800"


def test_printable_leaves_letters_of_all_scripts() -> None:
    for text in ("naïve 映画 фильм 😀", "می\u200cشود 👩\u200d💻"):
        assert printable(text) == text


def test_printable_cuts_to_a_limit() -> None:
    assert printable("abcdefghij", 6) == "abc..."
    assert printable("abcdef", 6) == "abcdef"


@given(st.text())
def test_escaped_text_cannot_leave_its_table_cell(text: str) -> None:
    found = escape_markdown(text)
    assert len(found.splitlines()) <= 1
    assert "<" not in found
    unescaped = found.replace("\\\\", "")
    assert all(unescaped[place - 1] == "\\" for place, char in enumerate(unescaped) if char in "|`*_[]")


@given(st.text(max_size=40))
def test_printable_leaves_no_control_character(text: str) -> None:
    shown = printable(text)
    assert not any(unicodedata.category(char)[0] in "CZ" and char not in " \u3000\u200c\u200d" for char in shown)


def test_a_long_message_loses_its_middle() -> None:
    assert one_line("a\nb") == "a\\nb"
    assert one_line("x" * 1500) == "x" * 1500
    assert one_line(f"begin{'x' * 5000}end") == f"begin{'x' * 745} ... {'x' * 747}end"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://KEY:SECRET@bucket/f?endpoint_override=10.0.0.1:9000&session_token=x", "s3://bucket/f"),
        ("s3://KEY:SEC/RET@bucket/f", "s3://bucket/f"),
        (
            "cannot use s4://KEY:SECRET@b/x: no scheme in s4://KEY:SECRET@b/x",
            "cannot use s4://b/x: no scheme in s4://b/x",
        ),
        (
            "sentune run --storage 's3://KEY:SECRET@b/f?token=x' --trials 3",
            "sentune run --storage 's3://b/f' --trials 3",
        ),
        ("http://me@host:5000/x", "http://host:5000/x"),
        ("s3://KEY:SE@C/RET@bucket/f", "s3://bucket/f"),
        ("postgresql://db/?user=u&password=p", "postgresql://db/"),
        ("s3://bucket/run-?session_token=x", "s3://bucket/run-"),
    ],
)
def test_what_may_be_secret_in_a_uri_is_concealed(text: str, shown: str) -> None:
    assert redact_uris(text) == shown


@pytest.mark.parametrize(
    "text", ["sqlite:////a/b.db", "s3://bucket/f", "http://h:1/x", "what? a=1", "mail me@host, a:b@c"]
)
def test_text_without_a_secret_stays(text: str) -> None:
    assert redact_uris(text) == text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("/home/anna schmidt/x.csv", "x.csv"),
        ("mr:/my data/rt.tar.gz", "rt.tar.gz"),
        ("snippets", "snippets"),
        ("a/b", "a/b"),
    ],
)
def test_an_absolute_path_is_shown_without_folders(value: str, shown: str) -> None:
    assert last_part(value) == shown


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("sentune run ../data/tickets.csv --name x", "sentune run tickets.csv --name x"),
        ("/home/me/bin/sentune retrain s --out=/home/me/model", "sentune retrain s --out=model"),
        ("search('/home/me/t.csv', cache_dir='~me/c')", "search('t.csv', cache_dir='c')"),
        ("sentune run mr:/data/rt.tar.gz --split 80/10/10", "sentune run rt.tar.gz --split 80/10/10"),
        ("sentune run --storage s3://bucket/folder --set 'hidden_dim=int(4,16)'",) * 2,
        ("sentune run '/home/anna schmidt/x y.csv' --name x", "sentune run 'x y.csv' --name x"),
        ("sentune run '/data (1)/kunde,geheim/x.csv'", "sentune run 'x.csv'"),
        ("sentune retrain s '--out=/home/anna schmidt/model'", "sentune retrain s '--out=model'"),
        ("sentune run 'mr:/my data/rt.tar.gz' --split '80/10/10'", "sentune run 'rt.tar.gz' --split '80/10/10'"),
        (
            "the study's data are not in /home/anna/x; run the study's command",
            "the study's data are not in x; run the study's command",
        ),
        ("", ""),
    ],
)
def test_a_command_is_shown_without_folders(command: str, shown: str) -> None:
    assert without_folders(command) == shown
