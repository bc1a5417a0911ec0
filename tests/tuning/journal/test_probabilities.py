"""The probabilities of the best epochs, in files next to the journal."""

import base64
import io
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from core.errors import CorruptionError, UserError
from core.log_odds import round_log_odds, to_probabilities
from tuning.journal.probabilities import epoch_name, load_probabilities, pack_log_odds, save_probabilities

LOG_ODDS = round_log_odds(np.random.default_rng(0).normal(0, 2, (1057, 2)))


def in_numpy_format(values: NDArray[np.int16]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    save_probabilities(tmp_path, epoch_name(3, 5), pack_log_odds(LOG_ODDS))
    found = load_probabilities(tmp_path, epoch_name(3, 5), 1057, 2)
    assert found is not None
    assert np.array_equal(found, to_probabilities(LOG_ODDS))
    assert [path.name for path in (tmp_path / "probabilities").iterdir()] == ["00003-5.npz"]
    assert load_probabilities(tmp_path, epoch_name(3, 6), 1057, 2) is None


def test_the_same_log_odds_are_the_same_bytes() -> None:
    assert pack_log_odds(LOG_ODDS) == pack_log_odds(LOG_ODDS.copy())


def test_a_sentence_takes_two_bytes() -> None:
    assert len(base64.b64decode(pack_log_odds(LOG_ODDS))) < 2 * 1057 + 600


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"1), }", b"1(, }"),
        (b"'<i2'", b"()   "),
        (b"'<i2'", b"'(2,'"),
        (b"(1057, 1)", b"(%d, 1)" % 10**23),
        (b"\x93NUMPY", b"\x93NUMPX"),
        (b"{'descr'", b"  a\n b\n{"),
    ],
)
def test_a_header_that_numpy_cannot_parse_is_damage(tmp_path: Path, old: bytes, new: bytes) -> None:
    path = tmp_path / "probabilities" / "00003-5.npz"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("log_odds.npy", in_numpy_format(LOG_ODDS[:, :1]).replace(old, new))
    with pytest.raises(CorruptionError, match=r"00003-5\.npz is damaged \("):
        load_probabilities(tmp_path, "00003-5", 1057, 2)


def test_a_file_that_cannot_be_read_is_not_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "probabilities" / "00003-5.npz").mkdir(parents=True)
    with pytest.raises(UserError, match=r"^cannot read .*00003-5\.npz \(Is a directory\); make it a regular file"):
        load_probabilities(tmp_path, "00003-5", 1057, 2)


@pytest.mark.slow
def test_damage_is_one_line_that_names_the_file(tmp_path: Path) -> None:
    """Any changed byte is found, or changes nothing that is read."""
    save_probabilities(tmp_path, "00003-5", pack_log_odds(LOG_ODDS))
    path = tmp_path / "probabilities" / "00003-5.npz"
    whole, expected = path.read_bytes(), to_probabilities(LOG_ODDS)
    messages = []
    for at in [*range(0, 400, 7), *range(400, len(whole), 97), *range(len(whole) - 200, len(whole), 3)]:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            read = load_probabilities(tmp_path, "00003-5", 1057, 2)
        except CorruptionError as error:
            messages.append(str(error))
        else:
            assert read is not None
            assert np.array_equal(read, expected)
    assert len(messages) > 40
    for message in messages:
        assert message.startswith(f"{path} is damaged (")
        assert message.endswith("); restore a copy, or remove the file to ignore it")
        assert "\n" not in message


@pytest.mark.parametrize("content", [b"", b"nothing", b"PK\x03\x04", in_numpy_format(LOG_ODDS)])
def test_another_file_is_damage(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "probabilities" / "00003-5.npz"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(CorruptionError, match=r"00003-5\.npz is damaged \("):
        load_probabilities(tmp_path, "00003-5", 1057, 2)


@pytest.mark.parametrize(("field", "value"), [(8, 1), (10, 12), (10, 99)])
def test_an_entry_that_is_encrypted_or_of_another_compression_is_damage(tmp_path: Path, field: int, value: int) -> None:
    """Both are fields of an entry in the archive's directory: its flags and its method."""
    save_probabilities(tmp_path, "00003-5", pack_log_odds(LOG_ODDS))
    path = tmp_path / "probabilities" / "00003-5.npz"
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + field] = value
    path.write_bytes(content)
    with pytest.raises(CorruptionError, match=r"00003-5\.npz is damaged \(it is no archive"):
        load_probabilities(tmp_path, "00003-5", 1057, 2)


def test_a_pickle_is_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "probabilities" / "00003-5.npz"
    path.parent.mkdir()
    np.savez(path, log_odds=np.array([{}], dtype=object))
    with pytest.raises(CorruptionError, match="allow_pickle=False"):
        load_probabilities(tmp_path, "00003-5", 1057, 2)


def test_a_file_that_inflates_to_more_than_its_sentences_need_is_damage_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "probabilities" / "00003-5.npz"
    path.parent.mkdir()
    np.savez_compressed(path, log_odds=np.zeros((20_000_000, 1), dtype=np.int8))
    tracemalloc.start()
    with pytest.raises(CorruptionError, match=r"is damaged \(20,000,128 bytes are too many for 1,057 sentences"):
        load_probabilities(tmp_path, "00003-5", 1057, 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_a_header_that_claims_more_than_the_memory_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "probabilities" / "00003-5.npz"
    path.parent.mkdir()
    header = in_numpy_format(LOG_ODDS).replace(b"(1057, 1)", b"(%d, 1)" % 10**17)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("log_odds.npy", header)
    with pytest.raises(CorruptionError, match=r"00003-5\.npz is damaged \("):
        load_probabilities(tmp_path, "00003-5", 1057, 2)


def test_probabilities_of_another_number_of_sentences_are_damage(tmp_path: Path) -> None:
    save_probabilities(tmp_path, "00003-5", pack_log_odds(LOG_ODDS))
    with pytest.raises(CorruptionError, match=r"must be int16 of shape \(9, 1\)"):
        load_probabilities(tmp_path, "00003-5", 9, 2)


def test_a_link_in_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "probabilities").mkdir()
    (tmp_path / "notes").write_text("mine")
    (tmp_path / "probabilities" / "00003-5.npz").symlink_to(tmp_path / "notes")
    save_probabilities(tmp_path, epoch_name(3, 5), pack_log_odds(LOG_ODDS))
    assert (tmp_path / "notes").read_text() == "mine"
    assert (tmp_path / "probabilities" / "00003-5.npz").is_file()
