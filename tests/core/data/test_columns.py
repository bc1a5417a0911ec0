"""The choice of columns, and the conversion of labels to class numbers."""

import dataclasses

import pytest

from core.data.columns import choose_columns, drop_missing_rows, encode_labels, read_texts, require_column
from core.data.readers import Table
from core.errors import DataError
from tests.support.reviews import table

SENTENCES = ["a very good film", "not so good at all", "I fell asleep twice"]


def test_given_columns_are_taken() -> None:
    assert choose_columns(table(a=["x"], b=["y"], c=["z"]), "c", "a") == ("c", "a")


def test_a_given_column_may_have_an_empty_name() -> None:
    """As pandas writes the header of an index."""
    columns = table(**{"": SENTENCES, "text": SENTENCES, "label": ["0", "1", "0"]})
    assert choose_columns(columns, "", None) == ("", "label")
    assert choose_columns(columns, None, "") == ("text", "")
    assert choose_columns(table(**{"": SENTENCES, "y": ["0", "1", "0"]}), None, None) == ("", "y")


@pytest.mark.parametrize(("text", "label"), [("text", "label"), ("Sentence", "CLASS"), ("review", "sentiment")])
def test_usual_names_are_found_in_any_case(text: str, label: str) -> None:
    assert choose_columns(table(id=["1"], **{label: ["0"], text: ["x"]}), None, None) == (text, label)


def test_of_two_columns_the_wordy_one_is_the_text() -> None:
    assert choose_columns(table(y=["0", "1", "0"], x=SENTENCES), None, None) == ("x", "y")
    assert choose_columns(table(x=SENTENCES, y=["0", "1", "0"]), None, None) == ("x", "y")


def test_of_two_columns_the_other_one_is_the_other() -> None:
    assert choose_columns(table(foo=["a"], bar=["b"]), "foo", None) == ("foo", "bar")
    assert choose_columns(table(foo=["a"], bar=["b"]), None, "foo") == ("bar", "foo")
    assert choose_columns(table(foo=["a"], label=["b"]), None, None) == ("foo", "label")


def test_a_column_has_one_use() -> None:
    with pytest.raises(DataError, match=r"data\.csv: column 'b' has two uses; pass each column for one of them"):
        choose_columns(table(a=["x"], b=["y"]), "a", "b", ["b"])


@pytest.mark.parametrize("name", ["data.csv", "data.TSV.gz"])
def test_a_file_without_a_header_does_not_lose_its_first_row(name: str) -> None:
    rows = dataclasses.replace(
        table(**{"a dull film": SENTENCES, "it's bad": ["good", " it's bad", "good"]}), name=name
    )
    hint = r"""pass --label-column 'it'"'"'s bad'"""
    with pytest.raises(
        DataError,
        match=rf"{name}: the first line looks like a row, not like a header, because 'it's bad' is also a label; "
        rf"add a first line with the columns' names, or {hint}$",
    ):
        choose_columns(rows, None, None)
    assert choose_columns(rows, None, "it's bad") == ("a dull film", "it's bad")


@pytest.mark.parametrize("name", ["data.jsonl", "data.parquet", "the data frame"])
def test_only_a_csv_or_tsv_can_lack_a_header(name: str) -> None:
    rows = dataclasses.replace(table(x=SENTENCES, y=["y", "0", "y"]), name=name)
    assert choose_columns(rows, None, None) == ("x", "y")


@pytest.mark.parametrize(("text", "label"), [("text", "spam"), ("x", "target")])
def test_a_column_with_a_usual_name_shows_that_there_is_a_header(text: str, label: str) -> None:
    assert choose_columns(table(**{text: SENTENCES, label: [label, "0", label]}), None, None) == (text, label)


def test_a_label_that_is_not_needed_is_found_by_its_usual_name_only() -> None:
    one = table(x=SENTENCES, p_a=["1"] * 3, p_b=["0"] * 3)
    assert choose_columns(one, None, None, ["p_a", "p_b"], label_needed=False) == ("x", None)
    two = table(x=SENTENCES, y=["0", "1", "0"])
    assert choose_columns(two, None, None, label_needed=False) == ("x", None)
    assert choose_columns(table(x=SENTENCES, label=["0", "1", "0"]), None, None, label_needed=False) == ("x", "label")
    with pytest.raises(DataError, match=r"pass --text-column \(which column holds the text\); it has 'a', 'b'$"):
        choose_columns(table(a=["x"], b=["y"]), None, None, label_needed=False)


def test_two_short_columns_are_not_distinguished() -> None:
    with pytest.raises(DataError, match=r"data.csv: pass --text-column .* and --label-column .* has 'foo', 'bar'"):
        choose_columns(table(foo=["a"], bar=["b"]), None, None)


QUEUES: list[str | None] = ["billing", "technical", "billing"] * 2
TICKETS: dict[str, list[str | None]] = {
    "ticket": [f"A-{i}" for i in range(6)],
    "opened": ["2026-11-01", "2026-11-02"] * 3,
    "subject": [f"about page {i}" for i in range(6)],
    "body": [f"the page {i} is gone since I bought it last week" for i in range(6)],
    "queue": QUEUES,
}


def test_columns_with_unusual_names_are_found_by_their_content() -> None:
    assert choose_columns(table(**TICKETS), None, None) == ("body", "queue")
    chinese: list[str | None] = [f"第{i}个页面打不开了" for i in range(6)]
    assert choose_columns(table(**TICKETS | {"body": chinese, "subject": TICKETS["ticket"]}), None, None)[0] == "body"


@pytest.mark.parametrize("empty", ["", None])
def test_a_column_that_is_mostly_empty_is_not_the_text(empty: str | None) -> None:
    note = ["we called the customer " * 6, *[empty] * 5]
    assert choose_columns(table(**TICKETS, note=note), None, "queue") == ("body", "queue")


def test_two_columns_with_sentences_or_with_labels_are_not_distinguished() -> None:
    answer: list[str | None] = [f"we are sorry and will look at the page {i}" for i in range(6)]
    with pytest.raises(DataError, match=r"pass --text-column \(which column holds the text\); it has"):
        choose_columns(table(**TICKETS, answer=answer), None, "queue")
    with pytest.raises(DataError, match=r"pass --label-column \(which holds the labels\); it has"):
        choose_columns(table(**TICKETS, priority=QUEUES), None, None)


@pytest.mark.parametrize("labels", [TICKETS["ticket"], QUEUES])
def test_a_column_of_splits_is_not_taken_as_label_and_its_option_is_named(labels: list[str | None]) -> None:
    rows = table(body=TICKETS["body"] * 2, intent=labels * 2, part=["train", "Dev", "test"] * 4)
    message = (
        r"pass --label-column \(.*; it has 'body', 'intent', 'part'; pass --split-column 'part' if it holds the splits"
    )
    with pytest.raises(DataError, match=message):
        choose_columns(rows, None, None)
    assert choose_columns(rows, None, None, ["part"]) == ("body", "intent")
    with pytest.raises(DataError, match=r"pass --label-column .*; pass --split-column 'part' if it holds the splits"):
        choose_columns(table(body=rows.columns["body"], part=rows.columns["part"]), None, None)


def test_rows_without_a_text_or_a_label_are_dropped() -> None:
    rows = table(a=["x", None, "y", " ", "z"], b=["1", "2", "", "3", "4"], c=[None, "1", "1", "1", "1"])
    kept = drop_missing_rows(rows, ["a", "b"])
    assert kept.columns == {"a": ["x", "z"], "b": ["1", "4"], "c": [None, "1"]}
    assert kept.location(1) == "data.csv, line 6"
    with pytest.raises(DataError, match=r"data\.csv: no row has a value in 'a' and 'c'; pass other columns"):
        drop_missing_rows(table(a=["", "y"], c=["x", None]), ["a", "c"])


def test_a_file_with_one_column_is_asked_for_separators() -> None:
    with pytest.raises(DataError, match=r"it has 'text\|label'; a CSV file has commas, semicolons or tabs between"):
        choose_columns(table(**{"text|label": ["a film|good", "a day|bad"]}), None, None)


def test_two_usual_names_are_ambiguous() -> None:
    with pytest.raises(DataError, match="the text column can be 'text' and 'review'; pass --text-column with one"):
        choose_columns(table(text=["a"], review=["b"], label=["c"]), None, None)


@pytest.mark.parametrize(("text", "label", "option"), [("no", None, "--text-column"), ("a", "no", "--label-column")])
def test_a_column_that_is_not_there_is_answered_with_those_that_are(text: str, label: str | None, option: str) -> None:
    with pytest.raises(DataError, match=f"data.csv: no column 'no'; choose {option} from 'a', 'b'"):
        choose_columns(table(a=["x"], b=["y"]), text, label)


def test_one_column_cannot_be_both() -> None:
    with pytest.raises(DataError, match="text and label column must differ, both are 'a'"):
        choose_columns(table(a=["x"], b=["y"]), "a", "a")


def test_no_other_column_takes_the_place_of_one_with_a_usual_name_that_is_not_read() -> None:
    lists = {"label": "list<int64>"}
    wrong = Table(name="x.parquet", columns={"text": ["a"], "region": ["1"]}, lines=[1], unsupported_columns=lists)
    with pytest.raises(DataError, match="column 'label' contains list<int64>; choose a column of text or numbers"):
        choose_columns(wrong, None, None)
    assert choose_columns(wrong, None, "region") == ("text", "region")
    text = dataclasses.replace(
        wrong, columns={"text": ["a"], "label": ["1"]}, unsupported_columns={"message": "a list"}
    )
    assert choose_columns(text, None, None) == ("text", "label")
    rated = dataclasses.replace(wrong, columns={"text": ["a"], "rating": ["1"]})
    with pytest.raises(DataError, match="the label column can be 'rating' and 'label'; pass --label-column with one"):
        choose_columns(rated, None, None)


@pytest.mark.parametrize(
    ("labels", "line"),
    [
        (['["a", "b"]', '["a"]', '["b"]'], 2),
        (["['a', 'b']", "['a']"], 2),
        (["a", "[b]", '{"choices": ["a", "b"]}'], 4),  # as Label Studio writes one choice or several
    ],
)
def test_lists_are_no_labels(labels: list[str | None], line: int) -> None:
    message = f"line {line}: column 'label' contains lists; choose a column with one label per row"
    with pytest.raises(DataError, match=message):
        encode_labels(table(label=labels), "label")


def test_words_in_brackets_are_labels() -> None:
    assert encode_labels(table(label=["a", "[b]", "{c}"]), "label")[1] == ("[b]", "a", "{c}")


def test_labels_that_begin_with_a_word_in_brackets_are_labels() -> None:
    assert encode_labels(table(label=["[IT] disk", "[HR] pay"]), "label")[1] == ("[HR] pay", "[IT] disk")


def test_names_of_columns_cannot_steer_the_terminal() -> None:
    with pytest.raises(DataError, match=r"choose --text-column from 'a\\x1b\[2J', 'b'"):
        require_column(table(**{"a\x1b[2J": ["x"], "b": ["y"]}), "c", "--text-column")


def test_word_labels_are_sorted() -> None:
    labels, classes = encode_labels(table(label=["b ", "c", "a", "b"]), "label")
    assert classes == ("a", "b", "c")
    assert labels.tolist() == [1, 2, 0, 1]


def test_number_labels_are_sorted_as_numbers_and_one_however_they_are_written() -> None:
    labels, classes = encode_labels(table(label=["10", "9", "-1.0", "10.00", "9.0"]), "label")
    assert classes == ("-1", "9", "10")
    assert labels.tolist() == [2, 1, 0, 2, 1]


def test_minus_zero_is_zero() -> None:
    assert encode_labels(table(label=["0", "-0.0", "-0", "0.0", "-1"]), "label")[1] == ("-1", "0")
    assert encode_labels(table(label=["0", "-0", "x"]), "label")[1] == ("-0", "0", "x")  # not all are numbers


def test_codes_of_digits_keep_their_zeros_and_large_ones_stay_apart() -> None:
    assert encode_labels(table(label=["01", "10", "01"]), "label")[1] == ("01", "10")
    large = ["9007199254740992", "9007199254740993"]
    assert encode_labels(table(label=large), "label")[1] == tuple(large)


def test_half_stars_keep_their_point() -> None:
    assert encode_labels(table(label=["0.5", "4.0", "1.50"]), "label")[1] == ("0.5", "1.50", "4")


@pytest.mark.parametrize("odd", ["nan", "inf", "1_0", "x"])
def test_numbers_in_a_column_with_a_word_are_words(odd: str) -> None:
    assert encode_labels(table(label=["9", "10", odd]), "label")[1] == tuple(sorted(["9", "10", odd]))


@pytest.mark.parametrize("empty", [None, "", "  "])
def test_a_row_without_label_is_refused_with_its_line(empty: str | None) -> None:
    with pytest.raises(
        DataError, match=r"line 3: no label in column 'label'; add it, or pass --drop-missing to leave out"
    ):
        encode_labels(table(label=["a", empty]), "label")


def test_a_row_without_text_is_refused_with_its_line() -> None:
    with pytest.raises(
        DataError, match=r"line 3: no text in column 'text'; add it, or pass --drop-missing to leave out"
    ):
        read_texts(table(text=["a", None]), "text")


def test_empty_texts_are_texts() -> None:
    assert read_texts(table(text=["a", ""]), "text") == ["a", ""]


def test_one_class_is_refused_by_name() -> None:
    with pytest.raises(
        DataError, match="label column 'label' has only one class, 'spam'; choose a column with two or more"
    ):
        encode_labels(table(label=["spam", "spam "]), "label")


@pytest.mark.parametrize("rows", [5_000, 100_000])
def test_five_thousand_labels_are_text_or_ids_however_many_rows_there_are(rows: int) -> None:
    cells: list[str | None] = [f"user {i % 5000}" for i in range(rows)]
    stars: list[str | None] = [str(i % 5) for i in range(rows)]
    wrong = table(id=cells, stars=stars, part=["train", "test"] * (rows // 2))
    with pytest.raises(
        DataError,
        match=rf"column 'id' has 5,000 distinct values in {rows:,} rows, more than 1,000, so it looks like text or "
        r"ids, not labels; pass --label-column 'stars' \(few distinct values\)",
    ):
        encode_labels(wrong, "id")


def test_ids_without_another_column_to_offer() -> None:
    cells: list[str | None] = [str(i) for i in range(30)]
    with pytest.raises(
        DataError,
        match=r"in 30 rows, more than 10, so it looks like .*, and no other column has few values; add a column of la",
    ):
        encode_labels(table(id=cells, text=cells), "id")


def test_many_classes_with_enough_sentences_are_classes() -> None:
    cells: list[str | None] = [f"intent {i % 151}" for i in range(151 * 3)]
    assert len(encode_labels(table(label=cells), "label")[1]) == 151
