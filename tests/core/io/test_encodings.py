"""Detection of a file's encoding."""

import tempfile
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ConfigError, DataError
from core.io import archives
from core.io.encodings import MAX_LINE, detect_encoding, normalize_encoding, text_lines

FRENCH = "Le film était très décevant, malgré une scène d'été réussie. L'actrice, elle, a joué à la perfection.\n" * 5
GERMAN = "Ein schöner Film über Menschen, größer als erwartet, müde\n"
ENGLISH = "it’s “fine” – the café was naïve\n"
CZECH = "Film je překvapivě dobrý, příběh však místy nudí a závěr působí uspěchaně, škoda.\n" * 4
RUSSIAN = "Фильм оказался удивительно хорошим, хотя сценарий местами скучен и предсказуем.\n" * 5


def detect(data: bytes) -> str:
    """Detect the encoding of a file that is read in blocks of 7 bytes."""
    with tempfile.TemporaryDirectory() as folder, patch.object(archives, "FILE_BLOCK", 7):
        (Path(folder) / "a.csv").write_bytes(data)
        return detect_encoding(Path(folder) / "a.csv")


def lines_of(folder: Path, data: bytes, encoding: str) -> str:
    (folder / "a.csv").write_bytes(data)
    return "".join(text_lines(folder / "a.csv", encoding, ""))


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (b"plain", "utf-8"),
        ("naïve".encode(), "utf-8"),
        (b"\xef\xbb\xbfmarked", "utf-8"),
        ("marked".encode("utf-16"), "utf-16"),
        ("marked".encode("utf-32"), "utf-32"),
        ("\ufeffmarked".encode("utf-16-be"), "utf-16"),
        ("\ufeffmarked".encode("utf-32-be"), "utf-32"),
    ],
)
def test_marks_and_utf8_are_certain(data: bytes, encoding: str) -> None:
    assert detect(data) == encoding


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (FRENCH, "cp1252"),
        (GERMAN, "cp1252"),
        (ENGLISH, "cp1252"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        (CZECH, "cp1250"),
    ],
)
def test_other_encodings_are_guessed_from_the_odd_lines(text: str, encoding: str) -> None:
    data = b"only ascii here, line after line\n" * 5000 + text.encode(encoding)
    assert detect(data) == encoding
    assert data.decode(encoding).endswith(text)


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_utf8_is_always_found(text: str) -> None:
    assert detect(text.encode()) == "utf-8"


@pytest.mark.parametrize("before", [9, 3000])  # within the sample of lines, and after it
def test_a_bad_byte_in_utf8_is_refused_with_its_line_and_not_read_in_another_encoding(before: int) -> None:
    whole = "only ascii here\n" + "le café était à l'été\n" * before
    with pytest.raises(
        DataError,
        match=rf"a\.csv, line {before + 2}: is not utf-8 \(.*\), as most other lines are; fix such lines$",
    ):
        detect(whole.encode() + b"le caf\xe9 ferme\n" + "déjà\n".encode() * 5)


def test_a_few_lines_in_utf8_do_not_decide() -> None:
    """Fewer than 10 lines, or than half of the lines."""
    odd = "Où est le café ?\n".encode("cp1252")
    for some in ("Où\n".encode() * 8 + odd, "Où\n".encode() * 9 + odd * 10):
        assert detect(some).startswith("cp125")
    with pytest.raises(DataError, match="line 11: is not utf-8"):
        detect("Où\n".encode() * 10 + odd * 9)


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(
        DataError, match=r"a\.csv: is not text in a known encoding; pass --encoding, or save the file as UTF-8"
    ):
        detect(bytes(range(128, 160)) * 40 + b"\xff\xfe\x00\x81\x8d\x8f" * 30)


def test_a_byte_that_does_not_fit_is_refused_with_its_line(tmp_path: Path) -> None:
    for before in (2, 300_000):  # in the first block, and in a later one
        with pytest.raises(DataError, match=rf"a\.csv, line {before + 1}: is not utf-8 \(invalid"):
            lines_of(tmp_path, b"a \xc3\xa9\n" * before + b"\xe9t\xe9\n", "utf-8")


def test_half_a_utf16_character_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.csv, line 1: is not utf-16"):
        lines_of(tmp_path, b"\xff\xfea\0b", "utf-16")


def test_a_line_without_an_end_is_refused_with_its_number(tmp_path: Path) -> None:
    assert len(lines_of(tmp_path, b"a\n" + b"x" * MAX_LINE, "utf-8")) == MAX_LINE + 2
    with pytest.raises(
        DataError, match=r"a\.csv, line 2: has more than 1,048,576 characters; write each row on a line"
    ):
        lines_of(tmp_path, b"a\n" + b"x" * (MAX_LINE + 1), "utf-8")


@pytest.mark.parametrize("encoding", ["klingon", "", "hex", "utf\0", "undefined", "idna", "punycode", "unicode_escape"])
def test_an_unknown_encoding_is_refused(encoding: str) -> None:
    with pytest.raises(ConfigError, match="encoding must be one that Python knows, such as utf-8 or cp1252, got"):
        normalize_encoding(encoding)


def test_an_encoding_has_one_name() -> None:
    assert {normalize_encoding(name) for name in ("UTF8", "utf-8", "U8")} == {"utf-8"}


def test_a_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    for data, encoding in ((b"\xef\xbb\xbfa", "utf-8"), ("a".encode("utf-16"), "utf-16")):
        assert lines_of(tmp_path, data, encoding) == "a"


def test_the_line_of_a_misfit_in_utf16_counts_no_bytes_of_letters(tmp_path: Path) -> None:
    """U+4E0A has the byte of a line feed."""
    with pytest.raises(DataError, match=r"a\.csv, line 3: is not utf-16"):
        lines_of(tmp_path, "上\n上\n".encode("utf-16") + b"A", "utf-16")
