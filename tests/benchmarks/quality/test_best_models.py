"""benchmarks.quality.best_models: the tables, and a missing file."""

import json
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.inputs.labelled_sets import read_set
from benchmarks.quality import best_models
from benchmarks.quality.best_models import differences, table
from core.data.corpus import TEST
from tests.support.corpora import tiny_corpus


def test_a_missing_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SENTUNE_DATA", str(tmp_path))

    with pytest.raises(SystemExit, match=r"mpqa\.all is missing: set SENTUNE_DATA"):
        read_set("mpqa")


COMMON = {"set": "mr", "vectors": "none", "space": "quick", "trials": 16, "fold": 0, "calibration": [0.05, 0.03]}
FIGURES = ("plain", "winner", "ensemble", "distilled", "winner_on_train", "estimate")


def test_the_table_has_means_and_the_gain_over_the_better_of_both() -> None:
    accuracies = [(0.76, 0.75, 0.78, 0.77, 0.75, 0.77), (0.74, 0.73, 0.77, 0.75, 0.71, 0.78)]
    results = [{**COMMON, **dict(zip(FIGURES, each, strict=True))} for each in accuracies]

    *_, row = table(results)

    means = "75.00 | 74.00 | 77.50 | 76.00 | +2.50 +- 0.50 | +1.00 +- 1.00"
    assert row == f"| mr | none | quick, 16 trials | 2 | {means} | 0.050, 0.030 |"


def test_differences_are_means_over_the_folds_of_several_sets() -> None:
    first = dict(zip(FIGURES, (0.76, 0.75, 0.78, 0.77, 0.75, 0.77), strict=True))
    second = dict(zip(FIGURES, (0.74, 0.73, 0.77, 0.75, 0.71, 0.78), strict=True))
    results = [{**COMMON, **first, "vectors": "glove-50d"}, {**COMMON, **second, "set": "trec", "vectors": "glove-50d"}]

    rows = {row.split(" | ")[0]: row for row in differences(results)}

    assert rows["| MR"] == "| MR | 1 | +3.00 | +2.00 | -1.00 | +2.00 | +0.00 | +1.00 |"
    assert rows["| the six other sets"] == "| the six other sets | 1 | +4.00 | +3.00 | -1.00 | +2.00 | +2.00 | -1.00 |"
    assert "| all | 2 | +3.50 +- 0.50 |" in rows["| all"]
    assert "| MR without vectors" not in rows


def test_all_models_learn_from_train_and_validation_and_one_winner_from_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on: dict[str, bool] = {}
    fitted: list[int] = []

    def run_sentune(*words: str) -> str:
        if words[0] != "run":
            out = Path(words[words.index("--out") + 1])
            out.mkdir(parents=True)
            on[out.name] = "train+val" in words
            figures = {"test_accuracy": len(on) / 10, "test_sentences": 9, "estimate": {"value": 0.5}, "members": []}
            figures["calibration"] = {"before": {"error": 0.2}, "after": {"error": 0.1}}
            (out / "metrics.json").write_text(json.dumps(figures))
        return ""

    def right(model: object, corpus: object, split: int, metric: object) -> SimpleNamespace:
        return SimpleNamespace(correct=np.array([split == TEST, False]))

    monkeypatch.setattr(best_models, "run_sentune", run_sentune)
    monkeypatch.setattr(best_models, "load_corpus", lambda *_, **options: tiny_corpus())
    monkeypatch.setattr(best_models, "fit_plain_baseline", lambda corpus, sentences: fitted.extend(sentences))
    monkeypatch.setattr(best_models, "evaluate_plain", right)
    arguments = Namespace(folder=tmp_path, space="quick", trials=3, vectors="none", quick=False)
    found = best_models.run_fold(tmp_path / "a-0.csv", arguments)
    assert on == {"ensemble": True, "winner": True, "distilled": True, "winner_on_train": False}
    assert fitted == [at for at in range(120) if tiny_corpus().split[at] != TEST]
    assert [found[name] for name in ("plain", "ensemble", "winner", "calibration")] == [0.5, 0.1, 0.2, [0.2, 0.1]]
