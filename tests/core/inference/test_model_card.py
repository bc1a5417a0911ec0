"""The card shows the origin of a model, and nothing in its data can become markup."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from core.class_report import WIDEST_MATRIX, class_report
from core.config import METRIC_NAMES, TrialConfig
from core.inference.members import LstmMember, Member, PlainMember
from core.inference.model_card import render_model_card
from core.plain_baseline import PlainBaseline

SOURCE = {
    "dataset": "snippets",
    "vectors": "glove-50d",
    "inputs": {"secret": "not for the card"},
    "n_sentences": 10568,
    "licence": "MIT (someone)",
    "vectors_licence": "PDDL 1.0",
    "split": "80/10/10",
    "split_seed": 42,
    "tokenizer": "nltk-3.10.4/word_tokenize/stops/lower",
    "audit": {
        "majority_baseline": {"class": "positive", "val": 0.504},
        "splits": {"train": 8454, "val": 1057},
        "duplicates_within": {"train": {"exact": 2, "near": 3}, "val": {"exact": 0, "near": 0}},
        "coverage": {"by_token": 0.94, "missing": [["birot", 7], ["cletis", 6]]},
        "leak_examples": [],
    },
}
METRICS = {
    "best_epoch": 2,
    "val_accuracy": 0.79,
    "val_sentences": 1057,
    "test_accuracy": 0.78,
    "test_sentences": 1057,
    "verdict": "REPRODUCED 2/2 epochs",
    "epochs": [{"epoch": 1, "val_accuracy": 0.7}, {"epoch": 2, "val_accuracy": 0.79}],
    "environment": {"torch": "2.13.0", "threads": 1},
}


OTHERS = ("loss", *(name for name in METRIC_NAMES if name not in ("accuracy", "log_loss")))


def card(**changes: Any) -> str:
    parts = {
        "source": SOURCE,
        "metrics": METRICS,
        "members": [LstmMember(name="model", weight=1.0, config=TrialConfig.notebook(), weights={})],
        "command": "sentune retrain s --out m",
    }
    return render_model_card(**(parts | changes))


@pytest.mark.parametrize(
    "line",
    [
        "| n sentences | 10568 |",
        "| tokenizer | nltk-3.10.4/word\\_tokenize/stops/lower |",
        "| coverage | by token 0.94; missing birot, 7; cletis, 6 |",
        "- word vectors: PDDL 1.0",
    ],
)
def test_a_card_tells_data_and_licences(line: str) -> None:
    """tests/golden/model/card.md has all other kinds of lines."""
    assert line in card().splitlines()


def test_figures_of_the_verified_trainings_say_whose_they_are_and_that_they_are_optimistic() -> None:
    text = card(metrics={"verified_val_accuracy": 0.79, "verified_val_sentences": 1057})
    (row,) = (line for line in text.splitlines() if line.startswith("| verified val accuracy"))
    assert "so the figure is optimistic. It belongs to trainings that did not see these sentences" in row


def test_the_metric_of_the_study_has_the_interval_that_is_given() -> None:
    figures = {"test_macro_f1": 0.7, "test_macro_f1_interval": {"low": 0.65, "high": 0.75}, "test_sentences": 90}
    text = card(metrics=figures)
    assert "| test macro f1 | 0.7 | 0.6500 to 0.7500, on 90 sentences |" in text
    assert "interval |" not in text.split("## Figures")[1].replace("95% interval |", "")


def test_what_is_not_known_is_left_out_or_said() -> None:
    text = card(source={}, metrics={"val_accuracy": 0.5})
    assert "trained on unnamed data" in text
    assert "| val accuracy | 0.5 |  |" in text
    assert "- data: not known" in text
    assert "### Audit" not in text
    assert "### Epochs" not in text


def test_the_inputs_of_the_cache_are_not_repeated() -> None:
    assert "not for the card" not in card()


@pytest.mark.parametrize(
    ("figures", "calibrated"), [({"temperature": 1.3}, True), ({"temperature": 1.0}, False), ({}, False)]
)
def test_the_limits_say_whether_the_probabilities_are_calibrated(figures: dict[str, float], calibrated: bool) -> None:
    limits = card(metrics=figures).split("## Limits\n\n")[1]
    without = "Probabilities are not calibrated, and may be too extreme or not extreme enough: a temperature is fitted"
    assert ("Probabilities are calibrated by one temperature" in limits) == calibrated
    assert (without in limits) == (not calibrated)


HOSTILE = "</td><script>alert(1)</script> | [x](https://evil.example) ![y](z) `q` *b* _i_ \x1b[31m \u202e\n\n# head"


def test_markup_in_data_is_shown_as_text() -> None:
    text = card(
        source=SOURCE | {"dataset": HOSTILE, "licence": HOSTILE, "audit": {HOSTILE: HOSTILE}},
        metrics={"note": HOSTILE, HOSTILE: 1},
    )
    plain = card(source=SOURCE | {"dataset": "d", "audit": {"a": "b"}}, metrics={"note": "n", "m": 1})
    assert len(text.splitlines()) == len(plain.splitlines())
    for bad in ("<script", " [x]", "![y]", "\x1b", "\u202e", " *b*", " _i_", " `q`", "https:"):
        assert bad not in text


@pytest.mark.parametrize("command", ["echo ```", "echo ````````", "a\nb", "plain"])
def test_a_command_cannot_end_its_block(command: str) -> None:
    block = card(command=command).split("## Command\n\n")[1].splitlines()
    fence, line, end = block
    assert set(fence) == {"`"}
    assert fence == end
    assert fence not in line


def test_a_confusion_matrix_of_many_classes_is_in_the_metrics_alone() -> None:
    for count, has_matrix in ((WIDEST_MATRIX, True), (WIDEST_MATRIX + 1, False)):
        confusion = np.eye(count, dtype=np.int64)
        scores = class_report(confusion, [f"class {number}" for number in range(count)])
        text = card(
            metrics={
                "test_classes": [dataclasses.asdict(each) for each in scores],
                "test_confusion": confusion.tolist(),
            }
        )
        assert ("Sentences by label (row)" in text) == has_matrix
    assert "| class 15 | 1.0000 (" in text
    assert "16 classes are too many for a confusion matrix here; it is `test_confusion` in `metrics.json`." in text


def test_the_log_loss_is_one_row_with_one_interval() -> None:
    test = {"test_log_loss": 0.2, "test_loss": 0.2, "test_loss_standard_error": 0.1, "test_sentences": 60}
    text = card(
        metrics={"val_log_loss": 0.5, "val_loss": 0.5, "val_loss_standard_error": 0.01, "val_sentences": 50}
        | test
        | {"test_log_loss_interval": {"low": 0.1, "high": 0.3}}
    )
    assert "| val log loss | 0.5 | 0.4804 to 0.5196, on 50 sentences | mean negative" in text
    assert "| test log loss | 0.2 | 0.1000 to 0.3000, on 60 sentences | mean negative" in text
    assert "| val loss |" not in text
    assert "| test loss |" not in text


def test_a_loss_with_a_standard_error_has_its_interval() -> None:
    text = card(
        metrics={"val_loss": 0.5, "val_loss_standard_error": 0.01, "val_sentences": 1057, "test_loss": 0.01}
        | {"test_loss_standard_error": 0.1, "verified_val_loss": 0.5, "verified_val_loss_standard_error": 0.01}
    )
    assert "| val loss | 0.5 | 0.4804 to 0.5196, on 1,057 sentences | mean cross-entropy" in text
    assert "| test loss | 0.01 | 0.0000 to 0.2060 | mean cross-entropy" in text
    assert "| verified val loss | 0.5 | 0.4804 to 0.5196 |" in text
    assert "standard error" not in text


def test_of_the_teachers_path_only_its_name_is_shown() -> None:
    assert "| teacher | ensemble |  | the model whose" in card(metrics={"teacher": "/home/alice/s/ensemble"})


def test_every_figure_that_retrain_writes_has_its_origin() -> None:
    names = ["best_epoch", "val_accuracy", "val_loss", "val_sentences", "test_accuracy", "test_loss", "test_sentences"]
    names += ["trial", "search_trials", "changed_since_the_search", "verdict", "weights_sha256", "data_fingerprint"]
    names += ["steps", "passes", "train_and_val_sentences", "verified_best_epoch", "verified_val_sentences"]
    names += [
        "members",
        "estimate",
        *(f"{split}_{name}" for split in ("val", "verified_val", "test") for name in OTHERS),
    ]
    names = list(dict.fromkeys(names))
    table = card(metrics=dict.fromkeys(names, 1)).split("## Figures\n\n")[1].split("\n\n")[0].splitlines()[2:]
    assert [line.split(" | ")[0] for line in table] == [f"| {name.replace('_', ' ')}" for name in names]
    assert all(len(line.split(" | ")[3].removesuffix(" |")) > 10 for line in table)


EMPTY = PlainBaseline(
    ngrams=np.zeros((0, 2), np.int32), idf=np.zeros(0, np.float32), coefficients=np.zeros((2, 0), np.float32),
    intercepts=np.zeros(2, np.float32),
)  # fmt: skip
LSTM = LstmMember(name="trial-3", weight=0.6, config=TrialConfig(hidden_dim=77), weights={})
PLAIN = PlainMember(weight=0.4, baseline=EMPTY)


@pytest.mark.parametrize(
    ("members", "vectors", "begin", "unknown"),
    [
        ([LSTM], "glove-50d", "The model knows the words of its training split, and the most frequent words of ", True),
        ([LSTM], "none", "The model knows the words of its training split, at most 50,000 in all. Every other", True),
        ([LSTM, PLAIN], "none", "Each LSTM knows the words of its training split, at most 50,000 in all. Every", True),
        (
            [PLAIN],
            "glove-50d",
            "The plain baseline knows the most frequent words and word pairs of its training",
            False,
        ),
    ],
)
def test_the_limits_say_which_words_the_members_know(
    members: list[Member], vectors: str, begin: str, unknown: bool
) -> None:
    limit = card(members=members, source={"vectors": vectors}).split("## Limits\n\n- ")[1].splitlines()[0]
    assert limit.startswith(begin)
    assert ("`<unk>`" in limit) == unknown
    assert ("plain baseline knows the most frequent words and word pairs" in limit) == (PLAIN in members)


def test_an_ensemble_lists_its_members_with_their_shares_and_settings() -> None:
    text = card(members=[LSTM, PLAIN])

    assert "An ensemble of 2 members" in text
    assert "- `trial-3`, share 0.6: Trained word vectors, 1 LSTM layer of width 77" in text
    assert "- `plain-baseline`, share 0.4: TF-IDF of words and word pairs with logistic regression." in text
    assert "## Settings of trial-3\n\n| setting | value |" in text
    assert "Settings of plain-baseline" not in text


def test_no_folder_of_the_author_is_shown() -> None:
    text = card(
        source=SOURCE | {"dataset": "/home/alice/t.csv", "audit": {"added": "/home/alice/u.txt"}},
        metrics=METRICS | {"environment": {"python": "/home/alice/bin/python"}},
        command="sentune retrain /home/alice/s --out '/home/alice/my model'",
    )
    assert "alice" not in text
    assert text.startswith("# Sentence classifier trained on t.csv\n")
    assert "\n| dataset | t.csv |\n" in text
    assert "\nsentune retrain s --out 'my model'\n" in text


def test_the_card_has_the_calibration_and_the_thresholds() -> None:
    row = {"low": 0.6, "high": 0.7, "sentences": 9, "confidence": 0.65, "accuracy": 0.5}
    before = {"error": 0.15, "log_loss": 1.3308, "bins": [row]}
    after = {"error": 0.2, "log_loss": 1.0933, "bins": [row | {"confidence": 0.61}]}
    rows = [
        {"min_probability": 0.9, "sentences": 4, "correct": 3},
        {"min_probability": 0.99, "sentences": 0, "correct": 0},
    ]

    about = {"split": "test", "sentences": 16, "rows": rows}
    text = card(metrics={**METRICS, "calibration": {"before": before, "after": after}, "abstention": about})

    assert "error: 0.1500 before, 0.2000 after; calibration did not help here. Log loss: 1.3308 before, 1.09" in text
    assert "### Answers on the test split" in text
    assert "| 0.9 | 25.0% | 0.7500 |" in text
    assert "| 0.99 | 0.0% |  |" in text
    assert "| before | 0.600 to 0.700 | 9 | 0.6500 | 0.5000 |\n| after | 0.600 to 0.700 | 9 | 0.6100 | 0.5000 |" in text
