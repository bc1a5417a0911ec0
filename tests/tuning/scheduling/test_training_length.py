"""tuning.scheduling.training_length: the number of epochs and of sentences per epoch."""

import pytest

from core.errors import ConfigError
from tuning.scheduling.training_length import parse_length, training_length


def chosen(epochs: int | None, epoch_sentences: int | None, a_pass: int) -> tuple[int, int | None, str]:
    found = training_length(epochs, epoch_sentences, a_pass, None)
    return found.epochs, found.epoch_sentences, str(found) if found.reason else ""


@pytest.mark.parametrize(
    ("a_pass", "epochs", "epoch_sentences", "said"),
    [
        (4_362, 16, None, "16 of 4,362 sentences (auto: 70,000 training sentences)"),
        (8_454, 8, None, "8 of 8,454 sentences (auto: 70,000 training sentences)"),
        (20_000, 8, None, "8 of 20,000 sentences (auto: at least 8 epochs)"),
        (100, 50, None, "50 of 100 sentences (auto: at most 50 epochs)"),
        (100_000, 8, None, "8 of 100,000 sentences (auto: at least 8 epochs)"),
        (800_000, 8, 100_000, "8 of 100,000 sentences (auto: at least 8 epochs, each a part of the 800,000 training "
                              "sentences)"),
    ],
)  # fmt: skip
def test_auto_shows_a_fixed_number_of_sentences_within_bounds(
    a_pass: int, epochs: int, epoch_sentences: int | None, said: str
) -> None:
    assert chosen(None, None, a_pass) == (epochs, epoch_sentences, said)


def test_a_given_number_is_kept() -> None:
    assert chosen(10, None, 4_362) == (10, None, "")
    assert chosen(10, 500, 4_362) == (10, 500, "")
    assert chosen(None, 5_000, 4_362) == (14, 5_000, "14 of 5,000 sentences (auto: 70,000 training sentences)")
    assert chosen(3, None, 800_000)[:2] == (3, 100_000)
    assert chosen(3, None, 800_000)[2] == "3 of 100,000 sentences (auto: a part of the 800,000 training sentences)"
    assert chosen(3, 800_000, 800_000) == (3, 800_000, "")


def test_a_study_keeps_its_own_numbers_where_none_is_given() -> None:
    """Also if a later version chooses others."""
    recorded = {"epochs": 23, "epoch_sentences": 600}
    again = training_length(None, None, 4_362, recorded)
    assert str(again) == "23 of 600 sentences (auto: as recorded in the study)"
    given = training_length(4, 100, 4_362, recorded)
    assert (given.epochs, given.epoch_sentences, given.reason) == (4, 100, "")
    a_pass = training_length(4, None, 4_362, {"epochs": 4, "epoch_sentences": None})
    assert (a_pass.epoch_sentences, a_pass.reason) == (None, "")


def test_the_bound_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^--epochs must be auto or a whole number from 1 to 99999, got '100000'"):
        parse_length("--epochs", "100000")


def test_an_option_is_a_number_or_auto() -> None:
    assert [parse_length("--epochs", text) for text in ("auto", "8", "008", "99999")] == [None, 8, 8, 99_999]
    assert parse_length("--epochs", 8) == 8  # type: ignore[arg-type]  # from Python


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "", " 8", "8 ", "1_000", "1e3", "Auto", "1000000000", "٣"])
def test_another_text_is_refused(text: str) -> None:
    message = f"^--epoch-sentences must be auto or a whole number from 1 to 999999999, got '{text}'$"
    with pytest.raises(ConfigError, match=message.replace(".", r"\.")):
        parse_length("--epoch-sentences", text)
