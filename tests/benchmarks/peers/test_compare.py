"""Each peer gets the same sentences, tokens and vectors; test labels stay here; a failed script is reported."""

import ast
import csv
import dataclasses
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.distributions import CategoricalDistribution

from benchmarks.peers import compare
from core.data.corpus import TEST
from tests.support.corpora import tiny_corpus
from tuning.space.load import load_space

sys.path.append(str(compare.SCRIPTS))


def test_tokens_and_vectors_are_those_of_the_corpus(tmp_path: Path) -> None:
    corpus = tiny_corpus()
    assert corpus.vectors is not None
    compare.write_rows(tmp_path / "tokens.csv", ("text", "label", "split"), compare.tokens_of(corpus))
    compare.write_vectors(tmp_path / "vectors.txt", corpus)
    with (tmp_path / "tokens.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [at for at, row in enumerate(rows) if row["split"] == "test"] == corpus.indices(TEST).tolist()
    for at, row in enumerate(rows):
        tokens = corpus.tokens[corpus.offsets[at] : corpus.offsets[at + 1]]
        assert row["text"].split(" ") == [corpus.words[token] for token in tokens]
        assert row["label"] == corpus.classes[corpus.labels[at]]
    lines = [line.split(" ") for line in (tmp_path / "vectors.txt").read_text(encoding="utf-8").splitlines()]
    assert [line[0] for line in lines] == list(corpus.words)
    assert np.allclose([[float(value) for value in line[1:]] for line in lines], corpus.vectors, atol=1e-6)


def test_plain_torch_has_the_vectors_of_the_words_that_occur_and_no_others(tmp_path: Path) -> None:
    from plain_lstm import Sentences  # type: ignore[import-not-found]  # a script, not a module of this project

    corpus = tiny_corpus()
    assert corpus.vectors is not None
    more = {"words": ("other", *corpus.words), "vectors": np.concatenate([corpus.vectors[:1], corpus.vectors])}
    compare.write_rows(tmp_path / "tokens.csv", ("text", "label", "split"), compare.tokens_of(corpus))
    compare.write_vectors(tmp_path / "vectors.txt", dataclasses.replace(corpus, **more))
    sentences = Sentences(tmp_path)
    assert sentences.codes == {word: code for code, word in enumerate(corpus.words)}
    assert np.allclose(sentences.vectors, corpus.vectors, atol=1e-6)


def test_optuna_ray_and_ludwig_search_the_ranges_of_the_quick_space() -> None:
    from plain_lstm import suggest  # type: ignore[import-not-found]  # a script, not a module of this project

    trial = optuna.create_study().ask()
    suggest(trial)
    quick = {each.name: each.distribution for each in load_space("quick").dimensions}
    plain = dict(trial.distributions)
    assert set(plain.pop("pooling").choices) < set(quick["pooling"].choices)  # Ludwig has the maximum alone
    assert plain == {name: quick[name] for name in plain}
    ends: list[Any] = [
        (each.choices[0], each.choices[-1]) if isinstance(each, CategoricalDistribution) else (each.low, each.high)  # type: ignore[attr-defined]
        for each in plain.values()
    ]
    script = ast.parse((compare.SCRIPTS / "ludwig_peer.py").read_text())  # without Ludwig it cannot be imported
    (ranges,) = (each.value for each in script.body if "RANGES" in map(ast.unparse, getattr(each, "targets", ())))
    theirs = [
        (each["categories"][0], each["categories"][-1])
        if "categories" in each
        else (each["lower"], each["upper"] - (each["space"] == "lograndint"))  # which never draws its upper end
        for each in ast.literal_eval(ranges).values()
    ]
    assert sorted(theirs, key=str) == sorted(ends, key=str)


def test_a_part_of_a_task_has_whole_sentences_and_no_labels_of_the_test_sentences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = tiny_corpus()
    texts = [f"text\n{at}\x85of\u2028lines" for at in range(200)]
    dataset = type("Data", (), {"texts": texts, "labels": np.arange(200) % 2, "classes": ("a", "b")})
    monkeypatch.setattr(compare, "read_set", lambda name: dataset)
    monkeypatch.setattr(compare, "load_corpus", lambda *args, **options: corpus)
    truth = compare.write_task(tmp_path, "any", limit=100)
    rows = {}
    for split in ("all", "train", "val", "test"):
        with (tmp_path / f"{split}.csv").open(newline="") as file:
            rows[split] = list(csv.DictReader(file))
    assert [len(row) for row in rows["test"]] == [1] * len(truth)
    assert sum(map(len, rows.values())) == 2 * 100
    assert {row["text"] for part in rows.values() for row in part} <= set(texts)


def test_a_script_that_fails_is_reported_with_its_last_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.py").write_text("raise ValueError('no space left')")
    monkeypatch.setattr(compare, "SCRIPTS", tmp_path)
    peer = compare.Peer(title="broken", script="broken.py", requirements=())
    with pytest.raises(SystemExit, match=r"broken\.py failed:[\s\S]*no space left"):
        compare.run_peer(peer, Path(sys.executable), tmp_path, 1)


def test_a_script_without_requirements_runs_the_sentune_of_this_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "import.py").write_text("import json, tuning; print(json.dumps({'file': tuning.__file__}))")
    monkeypatch.setattr(compare, "SCRIPTS", tmp_path)
    peer = compare.Peer(title="imports", script="import.py", requirements=())
    found = compare.run_peer(peer, Path(sys.executable), tmp_path, 1)
    assert Path(found["file"]).parents[1] == Path(compare.__file__).parents[2]


def test_the_table_begins_with_the_most_accurate_of_a_dataset() -> None:
    row = {"seconds": 1.0, "megabytes": 1.0, "milliseconds": 1.0, "trials": 2, "version": "1", "macro_f1": 0.5}
    results = [
        {**row, "set": "trec", "peer": peer, "test_accuracy": accuracy}
        for peer, accuracy in (("sentune", 0.8), ("flaml", 0.9))
    ]
    lines = list(compare.table(results))[2:]
    assert [line.split(" | ")[1] for line in lines] == ["FLAML on TF-IDF, 1", "`sentune run`, `retrain`, 1"]


def test_scores_are_accuracy_and_the_mean_of_the_classes_f1() -> None:
    found = dict.fromkeys(("seconds", "megabytes", "milliseconds", "trials", "version", "chosen"), 1)
    scores = compare.scores(["a", "a", "b", "b"], {**found, "predictions": ["a", "a", "a", "b"]})
    assert (scores["test_accuracy"], scores["macro_f1"]) == (0.75, pytest.approx((0.8 + 2 / 3) / 2, abs=1e-5))


def test_ludwigs_two_trials_at_once_have_one_thread_each() -> None:
    text = (compare.SCRIPTS / "ludwig_peer.py").read_text()
    assert 0 < text.find('os.environ["OMP_NUM_THREADS"] = "1"') < text.find("ray.init(")


SETTINGS = {"freeze_embedding": True, "n_layers": 1, "bidirectional": True, "pooling": "last", "hidden_dim": 4,
            "lstm_dropout": 0.0, "fc_dropout": 0.0, "learning_rate": 0.5, "batch_size": 2}  # fmt: skip


@pytest.mark.parametrize("pooling", ["last", "max"])
def test_plain_torch_reads_a_sentence_alike_next_to_a_longer_one(pooling: str) -> None:
    from plain_lstm import Net  # type: ignore[import-not-found]

    net = Net({**SETTINGS, "pooling": pooling}, torch.randn(9, 3), 2).eval()
    short, long = torch.tensor([2, 3]), torch.tensor([4, 5, 6, 7, 8])
    assert torch.allclose(net([short]), net([short, long])[:1], atol=1e-6)


def test_plain_torch_keeps_the_best_epoch_and_ends_where_the_report_says(monkeypatch: pytest.MonkeyPatch) -> None:
    import plain_lstm

    class Descent:
        """The first Adam imports for seconds."""

        def __init__(self, parameters: Any, lr: float) -> None:
            self.parameters, self.lr = list(parameters), lr

        def zero_grad(self) -> None:
            for each in self.parameters:
                each.grad = None

        def step(self) -> None:
            for each in self.parameters:
                each.data -= self.lr * each.grad

    seen: list[torch.Tensor] = []

    def predict(net: Any, _: object) -> list[bool]:
        seen.append(net.output.bias.clone())
        return [len(seen) == 2]

    monkeypatch.setattr(torch.optim, "Adam", Descent)
    monkeypatch.setattr(plain_lstm, "predict", predict)
    splits = {"train": [(torch.tensor([2, 3]), 1), (torch.tensor([4]), 1)], "val": [(torch.tensor([2]), 1)]}
    task = SimpleNamespace(vectors=torch.randn(5, 3), classes=["a", "b"], epochs=9, splits=splits)
    weights, accuracy = plain_lstm.train(SETTINGS, task, lambda epoch, accuracy: epoch == 3)
    assert (accuracy, len(seen)) == (1.0, 3)
    assert torch.equal(weights["output.bias"], seen[1])
    assert not torch.equal(seen[1], seen[2])
