"""tuning.analysis.tables: the table."""

import csv
import io
from collections.abc import Sequence

from core.config import TrialConfig
from tests.support.trial_records import NOT_ASSESSED, record
from tuning.analysis.ranking import BASELINE_NOTE, TrialRow, trial_rows
from tuning.analysis.tables import render_table, split_settings
from tuning.journal.records import TrialRecord

WIDE = TrialConfig(n_layers=1, hidden_dim=256, learning_rate=0.00123456)

SEARCHED = ("n_layers", "learning_rate", "freeze_embedding")


def rows_of(records: Sequence[TrialRecord], searched: Sequence[str] = SEARCHED) -> list[TrialRow]:
    return trial_rows(records, searched, NOT_ASSESSED)


def test_csv_has_a_column_for_each_setting_at_full_precision() -> None:
    rows = rows_of([record(0, 0.5), record(1, state="FAIL", error='bad, "very"')])
    first, second = csv.DictReader(io.StringIO(render_table(rows, "csv")))
    assert (first["rank"], first["val_accuracy"], first["learning_rate"]) == ("1", "0.5", "0.00123456")
    assert (second["rank"], second["error"]) == ("", 'bad, "very"')


def test_a_wide_table_has_one_line_for_each_trial_and_a_narrow_one_has_settings_below() -> None:
    rows = rows_of([record(0, 0.5), record(1, 0.6, config=WIDE.to_dict())], (*SEARCHED, "hidden_dim"))
    wide, narrow = (render_table(rows, "table", width=width).splitlines() for width in (100, 70))
    assert wide[0] == narrow[0] == "all trials shown: lr=0.00123"
    assert wide[1].split()[-3:] == ["hidden", "layers", "freeze"]
    assert wide[3].split()[-3:] == ["256", "1", "no"]
    assert wide[5] == ""
    assert narrow[1].split()[-1] == "state"
    assert narrow[4] == "       hidden=256 layers=1 freeze=no"
    assert narrow[6] == "       hidden=128 layers=2 freeze=yes"
    assert max(map(len, narrow)) <= 70
    for lines in (wide, narrow):
        assert any(" 0*  " in line for line in lines)
        assert BASELINE_NOTE in lines
        assert ("gain: accuracy above the baseline" in lines) == ("gain" in lines[1])


def test_only_settings_that_differ_have_columns_and_the_important_ones_come_first() -> None:
    params = [{"n_layers": 1, "mine": 1, "learning_rate": 0.1}, {"n_layers": 2, "mine": 2, "learning_rate": 0.1}]
    assert split_settings(params) == (["n_layers", "mine"], {"learning_rate": 0.1})
    assert split_settings([{"ema_decay": None}, {"ema_decay": 0.9}]) == (["ema_decay"], {})
    assert split_settings([]) == ([], {})


def test_sentences_are_wrapped_and_commands_are_not() -> None:
    words = "word " * 30
    notes = [words, f"  {words}", f"next: {words}"]
    lines = render_table(rows_of([record(1, 0.5)]), "table", width=200, notes=notes).splitlines()
    assert [len(line) for line in lines[-4:]] == [99, 49, 152, 156]


def test_an_errors_text_cannot_steer_the_terminal() -> None:
    text = render_table(rows_of([record(1, state="FAIL", error="[red]boom \x1b[31m")]), "table", width=80)
    assert "trial 1 failed: [red]boom " in text
    assert "\x1b" not in text


def test_a_note_cannot_steer_the_terminal() -> None:
    """Such as the reason of an early end, or the name of the study of a warm start."""
    text = render_table(rows_of([record(1, 0.5)]), "table", width=80, notes=["\x1b[31mred", "next: \u202ecommand"])
    assert text.endswith("\n\\x1b[31mred\nnext: \\u202ecommand")


def test_notes_are_below_what_people_read_and_not_in_data() -> None:
    rows = rows_of([record(0, 0.5)])
    assert render_table(rows, "table", width=80, notes=["by *name*"]).endswith("\nby *name*")
    assert render_table(rows, "md", notes=["by *name*"]).endswith("\nby \\*name\\*")
    assert render_table(rows, "csv", notes=["by *name*"]) == render_table(rows, "csv")
    assert render_table(rows, "json", notes=["by *name*"]) == render_table(rows, "json")


def test_data_are_no_markup_in_markdown() -> None:
    """Such as the name of a class in the line about the majority class."""
    note = "<b> [a](b) `c` d\\e __proto__ ~~x~~ https://x.org"
    table = render_table(rows_of([record(0, 0.5)]), "md", notes=[note])
    shown = r"&lt;b&gt; \[a\](b) \`c\` d\\e \_\_proto\_\_ \~\~x\~\~ https\://x.org"
    assert table.endswith(f"\n{shown}")
    assert render_table(rows_of([record(0, 0.5)]), "md", notes=["- x-y"]).endswith("\n\\- x-y")
    rows = trial_rows([record(0, config=record(0).config | {"pooling": "<img src=x>"})], ["pooling"], NOT_ASSESSED)
    assert render_table(rows, "md").startswith("all trials shown: pool=&lt;img src=x&gt;\n")


def test_columns_give_way_before_a_table_gets_wider_than_it_may_be() -> None:
    long = record(123456, 0.6, epochs=tuple(record(0, *[0.6] * 100).epochs * 2000))
    rows = rows_of([record(0, 0.5), long])
    heads = [render_table(rows, "table", width=width).splitlines()[1].split() for width in (90, 70, 60)]
    assert [("interval" in head, "gain" in head, "tied" in head) for head in heads] == [
        (True, True, True),
        (True, False, True),
        (False, False, True),
    ]
    assert max(map(len, render_table(rows, "table", width=60).splitlines()[:6])) <= 60
