"""tuning.serving.inputs: files and pipes of any length, line by line and in parts."""

import errno
import gzip
import io
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from core.data.readers import read_table
from core.errors import ConfigError, DataError
from tuning.serving.inputs import line_batches, sentence_batches, table_batch


def lines_of(file: Path | str, encoding: str | None = None, notify: Any = pytest.fail) -> list[str]:
    return [text for batch in line_batches(str(file), encoding, notify) for text in batch.texts]


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"one", ["one"]),
        (b"one\n\ntwo\n", ["one", "", "two"]),
        (b"one\r\ntwo\r\n", ["one", "two"]),
        (b"\xef\xbb\xbfone\n", ["one"]),
        ("a\u2028b\x0cc\x85d\n".encode(), ["a\u2028b\x0cc\x85d"]),
    ],
)
def test_a_sentence_is_a_line_as_editors_count_them(tmp_path: Path, data: bytes, lines: list[str]) -> None:
    (tmp_path / "file").write_bytes(data)
    assert lines_of(tmp_path / "file") == lines


def test_utf16_without_the_mark_of_its_byte_order_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"good\n")
    with pytest.raises(DataError, match=r"^--file .*file: is not utf-16 \(.*BOM\); pass another --encoding$"):
        list(line_batches(str(tmp_path / "file"), "utf-16", print))


def test_broken_utf8_is_read_and_said_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"fine\nna\xefve\n\xff\n")
    notes: list[str] = []
    assert lines_of(tmp_path / "file", notify=notes.append) == ["fine", "na\ufffdve", "\ufffd"]
    (note,) = notes
    assert "file, line 2: is not utf-8; such bytes are read as \ufffd (see --encoding)" in note
    assert lines_of(tmp_path / "file", "latin-1") == ["fine", "naïve", "ÿ"]


def test_standard_input_is_read_as_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO("naïve\n".encode())

    monkeypatch.setattr(sys, "stdin", Stdin)
    assert lines_of("-") == ["naïve"]


def test_a_character_may_begin_in_one_block_and_end_in_the_next(tmp_path: Path) -> None:
    """Blocks have 1 MiB; here each border is inside a character, and one is between the two ends of a line."""
    text = "é" * 600_000
    for before in ("", "x"):
        (tmp_path / "file").write_text(f"{before}{text}\n{text}\n")
        assert lines_of(tmp_path / "file") == [before + text, text]
    (tmp_path / "file").write_bytes(b"x" * (2**20 - 1) + b"\r\nnext\r\n")
    assert lines_of(tmp_path / "file") == ["x" * (2**20 - 1), "next"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32", "cp1252", "gb18030"])
def test_every_encoding_is_read_in_blocks(tmp_path: Path, encoding: str) -> None:
    lines = [f"line {n} naïve" for n in range(60_000)]
    (tmp_path / "file").write_text("\n".join(lines), encoding=encoding)
    assert lines_of(tmp_path / "file", encoding) == lines


def test_packed_lines_are_unpacked(tmp_path: Path) -> None:
    (tmp_path / "file.gz").write_bytes(gzip.compress(b"one\ntwo\n"))
    assert lines_of(tmp_path / "file.gz") == ["one", "two"]


def test_texts_are_named_by_their_lines(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a\n" * 3000)
    names = [
        batch.location(place)
        for batch in line_batches(str(tmp_path / "file"), None, pytest.fail)
        for place in range(1, len(batch.texts) + 1)
    ]
    assert names == [f"--file {tmp_path}/file, line {n}" for n in range(1, 3001)]


def test_a_pipes_lines_come_before_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    with open(reader, "rb") as stream, open(writer, "wb", buffering=0) as pipe:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stream))
        batches = line_batches("-", None, pytest.fail)
        pipe.write(b"one\ntwo\nthr")
        assert next(batches).texts == ["one", "two"]
        pipe.write(b"ee\n")
        assert next(batches).texts == ["three"]
        pipe.close()
        assert list(batches) == []


def test_a_named_pipe_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    thread = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[b"one\ntwo\n"])
    thread.start()
    assert lines_of(tmp_path / "pipe") == ["one", "two"]
    thread.join()


def test_an_input_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        class buffer:  # noqa: N801
            @staticmethod
            def read1(size: int) -> bytes:
                raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(sys, "stdin", Stdin)
    with pytest.raises(DataError, match=r"--file -: cannot be read \(Input/output error\); pass a file"):
        lines_of("-")


@pytest.mark.parametrize("before", [0, 3, 5000])
def test_a_line_without_an_end_is_refused_with_its_number(before: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `--file - < /dev/zero`; no more than two blocks are held."""

    class Endless(io.RawIOBase):
        start = b"a\n" * before
        blocks = 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            self.blocks += 1
            data = (self.start + bytes(len(buffer)))[: len(buffer)]
            self.start = b""
            buffer[:] = data
            return len(data)

    class Stdin:
        buffer = io.BufferedReader(Endless())

    monkeypatch.setattr(sys, "stdin", Stdin)
    message = f"--file -, line {before + 1}: has more than 1,048,576 characters; write one sentence per line"
    with pytest.raises(DataError, match=message):
        lines_of("-")
    assert Stdin.buffer.raw.blocks < 200  # type: ignore[attr-defined]


def test_a_table_is_a_regular_file(tmp_path: Path) -> None:
    """A pipe without a writer is not awaited."""
    for name in ("a.csv", "a.jsonl", "a.parquet"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(DataError, match=f"{name}: is a pipe, a device or a socket; pass a regular file"):
            list(sentence_batches(str(tmp_path / name), "body", None, tmp_path, pytest.fail, "--unlabelled"))


def test_a_cell_that_is_absent_is_an_empty_text(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"body": "good"}\n{"body": null}\n{}\n')
    assert table_batch(read_table(tmp_path / "a.jsonl", "utf-8"), "body").texts == ["good", "", ""]
    batches = sentence_batches(str(tmp_path / "a.jsonl"), "body", None, tmp_path, pytest.fail, "--unlabelled")
    assert [text for batch in batches for text in batch.texts] == ["good", "", ""]


def test_sentences_of_a_file_or_a_column(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,body\n1,good\n2,bad\n")
    (tmp_path / "a.txt").write_text("good, really\nbad\n")
    for file, column, found in (("a.csv", "body", ["good", "bad"]), ("a.txt", None, ["good, really", "bad"])):
        batches = sentence_batches(str(tmp_path / file), column, None, tmp_path, pytest.fail, "--unlabelled")
        assert [text for batch in batches for text in batch.texts] == found
    with pytest.raises(ConfigError, match=r"--text-column needs a file ending in .*, got --unlabelled a.txt"):
        list(sentence_batches("a.txt", "body", None, tmp_path, pytest.fail, "--unlabelled"))
