"""tuning.journal.predictions: packed classes are unpacked without a change, and damage is found."""

import base64
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import CorruptionError
from tuning.journal.predictions import pack_labels, unpack_labels, unpack_validation_labels


@given(st.lists(st.integers(0, 70_000)))
def test_what_was_packed_comes_back_through_json(classes: list[int]) -> None:
    packed = json.loads(json.dumps(pack_labels(np.array(classes, dtype=np.int64))))
    assert unpack_labels(packed, "x").tolist() == classes


def test_a_thousand_sentences_of_two_classes_take_a_few_hundred_characters() -> None:
    classes = np.random.default_rng(0).integers(0, 2, 1000)
    assert len(json.dumps(pack_labels(classes))) < 400


def test_every_flipped_bit_is_found() -> None:
    """Except a bit of the compression that does not change the classes."""
    packed = pack_labels(np.random.default_rng(0).integers(0, 3, 100))
    raw = base64.b64decode(packed["data"])
    found = 0
    for at in range(8 * len(raw)):
        flipped = bytearray(raw)
        flipped[at // 8] ^= 1 << at % 8
        changed = {**packed, "data": base64.b64encode(flipped).decode()}
        try:
            assert unpack_labels(changed, "trial 3").tolist() == unpack_labels(packed, "trial 3").tolist()
        except CorruptionError:
            found += 1
    assert found > 8 * len(raw) - 24


@pytest.mark.parametrize(("labels", "why"), [([], "there are none"), ([0, 2, 1], "it has class 2 of 2")])
def test_validation_labels_that_no_study_has_are_damage(labels: list[int], why: str) -> None:
    validation = {"labels": pack_labels(np.array(labels, dtype=int)), "classes": ["a", "b"]}
    with pytest.raises(CorruptionError, match=rf"the study's validation labels is damaged \({why}\); restore"):
        unpack_validation_labels({"validation": validation})


@pytest.mark.parametrize(
    "packed",
    [
        {"type": "|u1"},
        *({**pack_labels(np.array([0, 1])), **change} for change in (
            {"crc32": 1}, {"type": "<f8"}, {"data": "é"}, {"data": None}, {"data": "AAAA"})),
    ],
)  # fmt: skip
def test_damage_is_named(packed: dict[str, object]) -> None:
    with pytest.raises(CorruptionError, match=r"trial 3 is damaged \(.*\); restore a copy of the journal"):
        unpack_labels(packed, "trial 3")
