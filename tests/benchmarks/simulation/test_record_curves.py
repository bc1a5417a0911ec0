"""The part of the data, and the recorded trainings."""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import pytest

from benchmarks.inputs.corpora import part_of_corpus
from benchmarks.simulation.record_curves import chosen, conditions, jobs, space
from benchmarks.simulation.recording import read_finished, write_recording
from core.config import TrialConfig
from core.data.corpus import TRAIN, VAL
from tests.support.corpora import tiny_corpus

ARGUMENTS = argparse.Namespace(trials=6, epochs=3, sentences=100, hidden=64, seed=1)


def test_a_part_has_the_same_words_in_each_sentence() -> None:
    corpus = dataclasses.replace(tiny_corpus(), frozen_words=10)
    sentences = np.array([3, 17, 40])
    part = part_of_corpus(corpus, sentences)
    assert part.frozen_words > 0
    assert part.words[part.trained_words :] == tuple(word for word in part.words if word in corpus.words[-10:])
    assert part.words[:2] == ("<pad>", "<unk>")
    assert len(part.words) == len(np.unique(part.tokens)) + 2
    for new, old in enumerate(sentences):
        there = [part.words[i] for i in part.tokens[part.offsets[new] : part.offsets[new + 1]]]
        here = [corpus.words[i] for i in corpus.tokens[corpus.offsets[old] : corpus.offsets[old + 1]]]
        assert there == here
    assert part.vectors is not None
    assert corpus.vectors is not None
    for row, word in enumerate(part.words):
        assert (part.vectors[row] == corpus.vectors[corpus.words.index(word)]).all()
    assert part.fingerprint != corpus.fingerprint


def test_the_part_of_the_training_split_keeps_the_classes_shares() -> None:
    corpus = tiny_corpus(n_sentences=400)
    some = chosen(corpus, 100, seed=1)
    assert set(some) <= set(corpus.indices(TRAIN))
    assert not set(some) & set(corpus.indices(VAL))
    assert abs(len(some) - 100) <= 1
    train = corpus.labels[corpus.indices(TRAIN)]
    assert abs(corpus.labels[some].mean() - train.mean()) < 0.02
    assert len(chosen(corpus, 10_000, seed=1)) == len(train)


@pytest.mark.slow
def test_each_space_starts_with_the_notebooks_setting_and_draws_inside_its_cap() -> None:
    found = list(jobs(ARGUMENTS))
    assert [(job["space"], job["number"]) for job in found] == [
        (name, number) for number in range(3) for name in ("notebook", "default")
    ]
    for job in found[:2]:
        assert TrialConfig.from_dict(job["config"]) == TrialConfig.notebook(epochs=3, seed=1)
    assert list(jobs(ARGUMENTS)) == found
    for job in found[2:]:
        config = TrialConfig.from_dict(job["config"])
        assert config.hidden_dim <= 64
        searched = space(job["space"], 64)
        assert searched.to_config(searched.to_params(config), epochs=3, seed=1) == config


def test_a_recording_of_other_spaces_or_another_vocabulary_is_not_continued(tmp_path: Path) -> None:
    path, about, curves = tmp_path / "c.json.gz", conditions(ARGUMENTS), [{"space": "default", "number": 0}]
    write_recording(path, "module", {**about, "curves": curves})
    assert read_finished(path, about) == curves
    for other in ({"vocabulary": None}, {"spaces": {}}):
        write_recording(path, "module", {**about, **other, "curves": curves})
        assert read_finished(path, about) == []
