"""Ludwig gets the same data and ranges, and an environment without it is reported."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality.ludwig import configuration, parameters, version_in, write_table, write_vectors
from core.data.corpus import TEST
from tests.support.corpora import tiny_corpus
from tuning.space.load import load_space


def test_ludwig_gets_the_same_tokens_labels_and_splits(tmp_path: Path) -> None:
    corpus = tiny_corpus()
    write_table(tmp_path / "table.csv", corpus)
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(corpus.labels)
    assert [i for i, row in enumerate(rows) if row["split"] == "2"] == corpus.indices(TEST).tolist()
    for i, row in enumerate(rows):
        tokens = corpus.tokens[corpus.offsets[i] : corpus.offsets[i + 1]]
        assert row["text"].split(" ") == [corpus.words[token] for token in tokens]
        assert row["label"] == corpus.classes[corpus.labels[i]]


def test_ludwig_gets_the_same_vectors(tmp_path: Path) -> None:
    corpus = tiny_corpus()
    assert corpus.vectors is not None
    write_vectors(tmp_path / "vectors.txt", corpus)
    lines = [line.split(" ") for line in (tmp_path / "vectors.txt").read_text(encoding="utf-8").splitlines()]
    assert [line[0] for line in lines] == list(corpus.words)
    assert np.allclose([[float(value) for value in line[1:]] for line in lines], corpus.vectors, atol=1e-6)


def test_ludwig_searches_the_ranges_of_the_notebook_space() -> None:
    ours = {d.name: d.distribution for d in load_space("notebook").dimensions}
    theirs = parameters(64, 256)
    width, rate, dropout = ours["hidden_dim"], ours["learning_rate"], ours["fc_dropout"]
    assert theirs["text.encoder.state_size"] == {"space": "lograndint", "lower": width.low, "upper": width.high + 1}
    assert theirs["trainer.learning_rate"] == {"space": "loguniform", "lower": rate.low, "upper": rate.high}
    assert theirs["text.encoder.fc_dropout"] == {"space": "uniform", "lower": dropout.low, "upper": dropout.high}
    layers = ours["n_layers"]
    assert theirs["text.encoder.num_layers"]["categories"] == list(range(layers.low, layers.high + 1))


def test_the_configuration_holds_the_budget() -> None:
    config = configuration("vectors.txt", trials=8, epochs=4, hidden=(64, 256))
    assert config["hyperopt"]["executor"]["num_samples"] == 8
    assert config["trainer"]["epochs"] == 4


@pytest.mark.parametrize("python", [Path(sys.executable), Path("no-such-python")])
def test_an_environment_without_ludwig_is_reported_in_one_line(python: Path) -> None:
    with pytest.raises(SystemExit, match=f"^{python} has no Ludwig; install it as .*--help"):
        version_in(python)
