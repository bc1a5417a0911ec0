"""Text files become tables; errors name file and line."""

import contextlib
import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data import readers
from core.data.columns import require_column
from core.data.readers import MAX_CELL, Table, format_of, read_table
from core.errors import DataError, UserError


def read(folder: Path, name: str, data: bytes, encoding: str = "utf-8") -> Table:
    (folder / name).write_bytes(data)
    return read_table(folder / name, encoding)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.csv", "csv"),
        ("A.TSV.GZ", "tsv"),
        ("a.b.jsonl", "jsonl"),
        ("a.parquet", "parquet"),
        ("a.txt", None),
        ("csv", None),
    ],
)
def test_the_name_decides_the_format(name: str, kind: str | None) -> None:
    assert format_of(Path(name)) == kind


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_csv_with_any_newline(tmp_path: Path, newline: str) -> None:
    table = read(tmp_path, "a.csv", newline.join(["text,label", "one,0", '"two, too",1']).encode())
    assert table.columns == {"text": ["one", "two, too"], "label": ["0", "1"]}
    assert list(table.lines) == [2, 3]


def test_csv_with_newlines_of_three_kinds_and_one_inside_a_cell(tmp_path: Path) -> None:
    table = read(tmp_path, "a.csv", b'text,label\r\none,0\n"t\nwo",1\rthree,0\n\n')
    assert table.columns == {"text": ["one", "t\nwo", "three"], "label": ["0", "1", "0"]}


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_the_header_line_tells_the_separator(tmp_path: Path, separator: str) -> None:
    table = read(tmp_path, "a.csv", f"text{separator}label\na{separator}0\n".encode())
    assert table.columns == {"text": ["a"], "label": ["0"]}


@pytest.mark.parametrize(
    "name", ['"text, or title, or both"', '"a ""text"", or more, or less"', '5" disk', '"a\nb, c, d"']
)
def test_separators_inside_quotes_of_the_header_do_not_count(tmp_path: Path, name: str) -> None:
    table = read(tmp_path, "a.csv", f"{name};label\na;0\n".encode())
    assert list(table.columns.values()) == [["a"], ["0"]]


@pytest.mark.parametrize("rows", [1, 30])
@pytest.mark.parametrize("cell", ["a", '"a, b"', '"a\nb"'])
def test_the_rows_tell_the_separator_too(tmp_path: Path, rows: int, cell: str) -> None:
    table = read(tmp_path, "a.csv", f"text;label;score (a, b, c, d)\n{f'{cell};0;1{chr(10)}' * rows}".encode())
    assert table.columns["text"] == [cell.strip('"')] * rows
    assert list(table.columns) == ["text", "label", "score (a, b, c, d)"]
    with pytest.raises(DataError, match=r"a\.csv, line 4: has 4 cells, the header has 3"):
        read(tmp_path, "a.csv", b"text;label;score (a, b, c, d)\na;0;1\nb;0;1\nc;0;1;2\n")


def test_commas_in_texts_of_several_lines_do_not_outvote_the_separator(tmp_path: Path) -> None:
    answer = '"Well,\nI think,\nit is good, yes.\n"'
    rows = "".join(f"{number};{answer};5\n" for number in range(40))
    table = read(tmp_path, "a.csv", f'id;"What did you like, what not?";mark\n{rows}'.encode())
    assert (list(table.columns), len(table.lines)) == (["id", "What did you like, what not?", "mark"], 40)


def test_a_semicolon_comes_before_the_comma_of_a_decimal_number(tmp_path: Path) -> None:
    table = read(tmp_path, "a.csv", b"comment;mark, mean\nfine;3,5\nbad;1,0\n")
    assert table.columns == {"comment": ["fine", "bad"], "mark, mean": ["3,5", "1,0"]}


def test_a_blank_before_a_quote_is_refused_because_the_quotes_would_be_part_of_the_cell(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.csv, line 1: a blank precedes a quote; remove such blanks"):
        read(tmp_path, "a.csv", b'"text", "label"\n"a, b", "x"\n')


@pytest.mark.parametrize("first", ["sep=|", '"sep=|"', "\r\nsep=|\r"])
def test_a_line_for_excel_names_the_separator(tmp_path: Path, first: str) -> None:
    table = read(tmp_path, "a.csv", f"{first}\ntext, or title|label\na|0\n".encode())
    assert table.columns == {"text, or title": ["a"], "label": ["0"]}
    assert list(table.lines) == [3 + first.startswith("\r")]


@pytest.mark.parametrize("blank", ["\n\n", "\r\n\r\n", "\r\r", "  \n\n"])
def test_blank_lines_before_the_header_of_a_csv_are_skipped_and_counted(tmp_path: Path, blank: str) -> None:
    table = read(tmp_path, "a.csv", f"{blank}text;label\na;0\n   \n".encode())
    assert (table.columns, list(table.lines)) == ({"text": ["a"], "label": ["0"]}, [4])
    with pytest.raises(DataError, match=r"a\.csv, line 5: has 1 cells, the header has 2"):
        read(tmp_path, "a.csv", f"{blank}text;label\na;0\nb\n".encode())
    with pytest.raises(DataError, match=r"a\.csv, line 4: unexpected end of data; fix the quotes around it"):
        read(tmp_path, "a.csv", f'{blank}text;label\n"a;0\n'.encode())


def test_tsv_keeps_quotes_of_two_speeches(tmp_path: Path) -> None:
    table = read(tmp_path, "a.tsv", b'text\tlabel\n"Hello," she said, "bye"\t1\n')
    assert table.columns["text"] == ['"Hello," she said, "bye"']


def test_tsv_keeps_stray_quotes_and_takes_whole_ones_off(tmp_path: Path) -> None:
    table = read(tmp_path, "a.tsv", b'text\tlabel\n"so" good\t1\n"say ""hi"""\t0\n"\t0\n')
    assert table.columns == {"text": ['"so" good', 'say "hi"', '"'], "label": ["1", "0", "0"]}


def test_a_quoted_cell_of_two_lines_is_refused_in_a_tsv_of_one_column(tmp_path: Path) -> None:
    """With more columns the number of cells is wrong."""
    advice = "a quoted cell must end on its line; save the file as CSV"
    with pytest.raises(DataError, match=rf"a\.tsv, line 3: {advice}$"):
        read(tmp_path, "a.tsv", b'text\na\n"first ""b""\nsecond"\n')
    table = read(tmp_path, "a.tsv", b'text\n"Hello," she said\n5" disk\n"so ""b"""\n')
    assert table.columns == {"text": ['"Hello," she said', '5" disk', 'so "b"']}


@pytest.mark.parametrize(("row", "line"), [(b'1\t"a\nb"\tx\n', 2), (b'1\tx\t"a\n\nb"\n', 4)])
def test_a_line_break_in_a_cell_explains_a_wrong_number_of_cells_in_a_tsv(
    tmp_path: Path, row: bytes, line: int
) -> None:
    advice = "a quoted cell must end on its line; save the file as CSV"
    with pytest.raises(DataError, match=rf"a\.tsv, line {line}: has \d cells, the header has 3; {advice}$"):
        read(tmp_path, "a.tsv", b"id\ttext\tlabel\n" + row)


def test_a_quotation_at_the_end_of_a_cell_is_not_cut(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.tsv, line 2: has 2 cells, the header has 3; fix the line$"):
        read(tmp_path, "a.tsv", b'id\ttext\tlabel\n1\tHe said "hi"\n')


def test_a_column_that_occurs_twice_is_named_with_the_line_of_the_header(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.csv, line 3: several columns are named 'tag', 'text'; remove or rename"):
        read(tmp_path, "a.csv", b"\n\ntext,tag,text,tag\na,b,c,d\n")


def test_columns_without_a_name_are_left_out_except_a_single_one(tmp_path: Path) -> None:
    """Excel ends each line with separators; pandas writes an index."""
    rows = b"a\t0\t\t\t\nb\t1\tmore\t\t\n"
    for name, separator in (("a.csv", b";"), ("a.tsv", b"\t")):
        table = read(tmp_path, name, (b"text\tlabel\t\t \t\n" + rows).replace(b"\t", separator))
        assert table.columns == {"text": ["a", "b"], "label": ["0", "1"]}
    assert list(read(tmp_path, "a.csv", b",text,label\n0,a,0\n").columns) == ["", "text", "label"]


@pytest.mark.parametrize("title", ["Reviews 2024,,", ",,", "Reviews,,\n,,"])
def test_a_title_is_no_header(tmp_path: Path, title: str) -> None:
    message = r"a\.csv, line 1: most columns have no name; remove the lines before the header, or name the columns$"
    with pytest.raises(DataError, match=message):
        read(tmp_path, "a.csv", f"{title}\ntext,label,id\na,0,1\n".encode())
    with pytest.raises(DataError, match=message):
        read(tmp_path, "a.csv", b",\ntext,label\na,0\n")


def test_a_line_of_spaces_is_no_row_of_tsv(tmp_path: Path) -> None:
    assert read(tmp_path, "a.tsv", b"text\tlabel\na\t0\n  \n").columns == {"text": ["a"], "label": ["0"]}


def test_a_row_of_empty_cells_is_a_row_of_tsv(tmp_path: Path) -> None:
    table = read(tmp_path, "a.tsv", b"text\tlabel\n\t\n\na\t0\n")
    assert table.columns == {"text": ["", "a"], "label": ["", "0"]}
    assert list(table.lines) == [2, 4]


def test_jsonl_values_and_gaps(tmp_path: Path) -> None:
    lines = [
        '{"text": "a", "label": 1}',
        "",
        '{"text": "b", "label": true, "x": 0.5}',
        '{"label": null, "text": "[]"}',
        '{"label": NaN, "text": ""}',
    ]
    table = read(tmp_path, "a.jsonl", "\r\n".join(lines).encode())
    assert table.columns == {
        "text": ["a", "b", "[]", ""],
        "label": ["1", "true", None, None],
        "x": [None, "0.5", None, None],
    }
    assert table.location(1) == f"{tmp_path / 'a.jsonl'}, line 3"


def test_columns_of_jsonl_with_lists_or_objects_are_not_read(tmp_path: Path) -> None:
    """As those of Parquet."""
    path, first = tmp_path / "a.jsonl", '{"text": "a", "tokens": "a", "meta": {"b": ["c"]}}\n'
    path.write_text(first * readers.ROWS_AT_ONCE + '{"text": "b", "tokens": ["a"], "meta": [1]}\n')
    parts = list(readers.read_table_in_parts(path, "utf-8"))
    assert len(parts) == 2
    for table in (read_table(path, "utf-8"), *parts):
        assert list(table.columns) == ["text"]
        assert table.unsupported_columns == {"tokens": "a list in line 1025", "meta": "an object in line 1"}
    with pytest.raises(DataError, match="'tokens' contains a list in line 1025; choose a column of text or numbers"):
        require_column(table, "tokens", "--text-column")


def test_jsonl_with_a_bad_line_names_it(tmp_path: Path) -> None:
    lines = ['{"text": "a", "label": 1}'] * 1000 + ['{"text": "a", "label": }']
    with pytest.raises(DataError, match=r"line 1001: not JSON \(Expecting value at character 24\); fix the"):
        read(tmp_path, "a.jsonl", "\n".join(lines).encode())


@pytest.mark.parametrize("line", ["[1, 2]", '"text"', "3", "null"])
def test_jsonl_line_that_is_no_object(tmp_path: Path, line: str) -> None:
    with pytest.raises(DataError, match="line 2: must be a JSON object, got"):
        read(tmp_path, "a.jsonl", f'{{"text": "a"}}\n{line}\n'.encode())


def test_jsonl_nested_too_deep_is_not_a_crash(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 1: not JSON"):
        read(tmp_path, "a.jsonl", b'{"text": ' + b"[" * 100_000 + b"\n")
    for depth in range(900, 1000):  # of these, some can be read and not written
        with contextlib.suppress(DataError):
            read(tmp_path, "a.jsonl", b'{"text": ' + b"[" * depth + b"]" * depth + b"}\n")


@pytest.mark.parametrize(("name", "row"), [("a.csv", b"a,0\n"), ("a.tsv", b"a\t0\n"), ("a.jsonl", b'{"text": "a"}\n')])
def test_a_nul_is_refused_with_its_line(tmp_path: Path, name: str, row: bytes) -> None:
    advice = r"pass --encoding utf-16-le \(or utf-16-be\) for a file in UTF-16$"
    with pytest.raises(DataError, match=f"line 3: contains a NUL character; remove it, or {advice}"):
        read(tmp_path, name, row + row + b"\0" + row)


def test_utf16_without_a_byte_order_mark_is_read_with_the_encoding_that_the_error_names(tmp_path: Path) -> None:
    for encoding in ("utf-16-le", "utf-16-be"):
        data = "text,label\na film,0\n".encode(encoding)
        with pytest.raises(DataError, match=f"line 1: contains a NUL character.*{encoding}"):
            read(tmp_path, "a.csv", data)
        assert read(tmp_path, "a.csv", data, encoding).columns == {"text": ["a film"], "label": ["0"]}


def test_equal_labels_are_one_object_and_many_different_cells_are_not_collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "MAX_SHARED", 2)
    labels = read(tmp_path, "a.tsv", b"label\n" + b"good\nbad\nodd\n" * 2).columns["label"]
    assert labels == ["good", "bad", "odd"] * 2
    assert [labels[place] is labels[place + 3] for place in range(3)] == [True, True, False]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (b'"' + b"x\n" * 600_000, "a cell has more than 131,072 characters; shorten it, or fix the quotes around it"),
        (b'"x\n",' * 250_000, "the row has more than 1,048,576 characters; fix the quotes around it"),
    ],
)
def test_a_row_of_very_many_lines_is_refused_with_its_first_line(tmp_path: Path, row: bytes, message: str) -> None:
    with pytest.raises(DataError, match=rf"a\.csv, line 3: {message}"):
        read(tmp_path, "a.csv", b"text,label\na,0\n" + row)


@pytest.mark.parametrize("name", ["a.tsv", "a.jsonl"])
def test_a_long_cell_is_refused_in_every_format(tmp_path: Path, name: str) -> None:
    long = "x" * (MAX_CELL + 1)
    data = f"text\tlabel\n{long}\t0\n" if name == "a.tsv" else json.dumps({"text": long}) + "\n"
    with pytest.raises(DataError, match=r"column 'text' has 131,073 characters, more than 131,072;"):
        read(tmp_path, name, data.encode())


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ({"text": "a\ud83d"}, "text"),
        ({"text": "a", "author": "\ud83d"}, "author"),
        ({"text": "a", "\ude00": None}, r"\\ude00"),
    ],
)
def test_half_a_surrogate_pair_is_refused_with_its_line_and_column(
    tmp_path: Path, row: dict[str, str | None], column: str
) -> None:
    data = "\n".join(json.dumps(each) for each in ({"text": "😀"}, row)).encode()
    with pytest.raises(DataError, match=f"line 2: half a surrogate pair in column '{column}'; write the whole charac"):
        read(tmp_path, "a.jsonl", data)
    with pytest.raises(DataError, match=f"line 2: half a surrogate pair in column '{column}'; write the whole charac"):
        list(readers.read_table_in_parts(tmp_path / "a.jsonl", "utf-8"))


@pytest.mark.parametrize("first", ['{"text": "a"}\n', "{}\n"])
def test_a_column_that_a_file_gets_while_it_is_read_in_parts_is_refused(tmp_path: Path, first: str) -> None:
    """Its cells would have no name in the header, which is already written."""
    path = tmp_path / "a.jsonl"
    path.write_text(first * readers.ROWS_AT_ONCE + "{}\n")
    parts = readers.read_table_in_parts(path, "utf-8")
    next(parts)
    with path.open("a") as file:
        file.write('{"error": "timeout"}\n')
    with pytest.raises(DataError, match=r"a\.jsonl: has changed while it was read; run the same command again"):
        next(parts)


def test_a_header_that_is_not_separated_as_its_rows_is_refused_with_its_line(tmp_path: Path) -> None:
    quotes = r"put a cell with commas in quotes, or write sep=\| in a first line; if the header is a title, remove it"
    advice = f"separate columns by commas, semicolons or tabs, and {quotes}"
    with pytest.raises(
        DataError, match=rf"a\.csv, line 2: the header has one column, but line 4 has 2 cells; {advice}$"
    ):
        read(tmp_path, "a.csv", b"\ntext|label\na film|1\na film, or two|0\n")
    with pytest.raises(
        DataError, match=r"a\.tsv, line 2: has 2 cells, the header has 1; put tabs into the header, or remove a "
    ):
        read(tmp_path, "a.tsv", b"text,label\na film\t0\n")


def test_a_name_that_comes_twice_in_a_json_object_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.jsonl, line 2: several columns are named 'text'; remove or rename"):
        read(tmp_path, "a.jsonl", b'{"text": "a", "label": 0}\n{"text": "a", "label": 0, "text": "b"}\n')


def test_a_table_with_too_many_cells_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "MAX_CELLS", 20)
    data = json.dumps({str(number): 1 for number in range(9)}).encode() + b'\n{"0": 1}' * 3
    with pytest.raises(DataError, match=r"a\.jsonl: has more than 20 cells; write only the columns that are needed"):
        read(tmp_path, "a.jsonl", data)


@pytest.mark.slow
@pytest.mark.timeout(60)  # comparing each column with all others would take many minutes
def test_a_header_with_many_columns_is_refused_at_once(tmp_path: Path) -> None:
    line = ",".join(map(str, range(150_000)))
    with pytest.raises(DataError, match="has more than 4,096 columns"):
        read(tmp_path, "a.csv", f"{line}\n{line}\n".encode())


@pytest.mark.parametrize(
    ("name", "data"), [("a.csv", b""), ("a.csv", b"text,label\n"), ("a.tsv", b"\n"), ("a.jsonl", b"\n")]
)
def test_a_file_without_rows_is_refused(tmp_path: Path, name: str, data: bytes) -> None:
    with pytest.raises(DataError, match="has no rows"):
        read(tmp_path, name, data)


def test_a_gzip_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress(b"text,label\n" + b"a,0\n" * 1000)
    with pytest.raises(DataError, match=r"a\.csv\.gz: not a whole gzip file"):
        read(tmp_path, "a.csv.gz", packed[:-20])


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


@pytest.mark.slow
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8))
def test_csv_that_python_writes_is_read_back(tmp_path_factory: pytest.TempPathFactory, rows: list) -> None:
    import csv
    import io

    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows([("text", "label"), *rows])
    table = read(tmp_path_factory.mktemp("csv"), "a.csv", out.getvalue().encode())
    assert list(zip(table.columns["text"], table.columns["label"], strict=True)) == rows


@pytest.mark.slow
@given(st.lists(st.fixed_dictionaries({"text": CELLS, "label": CELLS}), min_size=1, max_size=8))
def test_jsonl_that_python_writes_is_read_back(tmp_path_factory: pytest.TempPathFactory, rows: list) -> None:
    data = "\n".join(json.dumps(row) for row in rows).encode()
    table = read(tmp_path_factory.mktemp("jsonl"), "a.jsonl", data)
    assert table.columns == {name: [row[name] for row in rows] for name in ("text", "label")}


@pytest.mark.slow
@pytest.mark.timeout(150)  # with a list as long as the file for each line it would take over four minutes
def test_a_file_of_a_million_lines_is_read(tmp_path: Path) -> None:
    table = read(tmp_path, "a.csv", b"text,label\n" + b"a,0\n" * 1_000_000)
    assert len(table.columns["text"]) == 1_000_000


@given(st.sampled_from(["a.csv", "a.tsv", "a.jsonl", "a.parquet", "a.csv.gz"]), st.binary(max_size=200))
def test_any_bytes_are_a_table_or_a_user_error(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: bytes
) -> None:
    try:
        table = read(tmp_path_factory.mktemp("any"), name, data)
    except UserError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert {len(cells) for cells in table.columns.values()} == {len(table.lines)}


def test_a_row_that_the_sample_cuts_does_not_count_against_its_separator(tmp_path: Path) -> None:
    rows = '3;"good,\nfilm, x\ny, z";7\n' * 30  # of three lines, and the sample has 20
    table = read(tmp_path, "a.csv", f"mark, mean;comment;id\n{rows}".encode())
    assert (list(table.columns), len(table.lines)) == (["mark, mean", "comment", "id"], 30)
