"""Render the card of a saved model in markdown: the model, its origin and its limits."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from core.calibration import MIN_MISTAKES, MIN_SENTENCES, describe_errors
from core.class_report import WIDEST_MATRIX
from core.data.vocabulary import MAX_WORDS
from core.inference.members import LstmMember, Member
from core.io.text import escape_markdown, last_part, printable, without_folders
from core.stats import Z, wilson

_SOURCE_ELSEWHERE = ("audit", "inputs", "licence", "vectors_licence")
_METRICS_ELSEWHERE = (
    *("environment", "epochs", "calibration", "coverage", "abstention"),
    *("val_classes", "val_confusion", "test_classes", "test_confusion"),
)
"""Names of source and metrics that have their own place in the card."""
_MEASURES = {
    "loss": "mean cross-entropy on {}, before calibration",
    "macro_f1": "mean F1 of the classes, on {}",
    "balanced_accuracy": "mean recall of the classes, on {}",
    "mcc": "Matthews correlation coefficient, on {}",
    "log_loss": "mean negative log probability of the labels, on {}, before calibration",
    "roc_auc": "area under the ROC curve (mean of each class against the rest), on {}",
}
_EXPLANATIONS = {
    "val_accuracy": "correct / total on the validation sentences, at the best epoch of each LSTM. Epochs and, in a "
    "search, settings were chosen on these sentences, so the figure is optimistic",
    "val_sentences": "number of validation sentences; with `--validation folds:K`, all training sentences",
    "verified_val_sentences": "number of validation sentences; with `--validation folds:K`, all training sentences",
    "test_accuracy": "correct / total on the test split, on which nothing was chosen, unless the data have changed "
    "since the search: some of its sentences may then have been in the validation split",
    "test_sentences": "size of the test split",
    **{f"val_{name}": what.format("the same sentences at the same epochs") for name, what in _MEASURES.items()},
    **{f"test_{name}": what.format("the test split") for name, what in _MEASURES.items()},
    "best_epoch": "the epoch with the best validation value of the setting `metric` (ties: lower loss, then the "
    "earlier); its weights are saved",
    "verified_best_epoch": "the best epoch of the verified training, which decides the number of steps",
    "train_and_val_sentences": "number of sentences on which the saved weights were trained",
    "members": "the members with their shares, the comparison of each with the search, and its own figures",
    "estimate": "validation value of the setting `metric` for the ensemble, by the search: `raw` as measured, `value` "
    "corrected for the choice of members and epochs",
    "trial": "number of the trial in the search",
    "search_trials": "number of trials of the search with a validation accuracy; the best of many is partly better by "
    "chance",
    "temperature": "temperature of the probabilities, fitted on predictions for the validation sentences, by trainings "
    "that did not see them; 1 (not fitted) changes nothing",
    "weights_sha256": "digest of the trained weights; equal digests mean bit-identical weights",
    "test_fingerprint": "digest of which sentences are the test split",
    "teacher": "the model whose probabilities, averaged with the labels, this one was trained on",
    "teacher_members": "the members of the teacher with their shares",
    "teacher_digest": "digest of the teacher's files, without its card and figures",
    "teacher_test_fingerprint": "digest of the teacher's test split; if it is not `test_fingerprint`, the teacher may "
    "have learned from sentences of this test split",
    "study_fingerprint": "digest of everything that shaped the data of the study",
    "unlabelled_sentences": "sentences without labels that were added to the training sentences",
    "unlabelled_digest": "digest of these sentences",
    "data_fingerprint": "digest of everything that shaped the data; an equal digest means a bit-identical corpus",
    "verdict": "comparison of a training with the recorded one, which has the same seed and splits, epoch by epoch; "
    "with `--on train+val`, folds or several seeds, the saved weights may be those of another training",
    "changed_since_the_search": "changes since the search: machine, versions, threads, data",
    "on": "splits on which the saved weights were trained",
    "steps": "number of optimizer steps: as many as the verified training took up to its best epoch",
    "passes": "number of passes over the training sentences; the last may be cut short, for the exact number of steps",
    "seeds": "results of the same settings on several seeds, first that of the trial; the saved weights are those of "
    "the median by the setting `metric` on validation",
    "test_evaluations": "number of evaluations of this study on test sentences, of any split, including this one",
}


def render_model_card(
    *, source: Mapping[str, Any], metrics: Mapping[str, Any], members: Sequence[Member], command: str
) -> str:
    """Return the card.

    Args:
        source: `Corpus.source`. Of an absolute path, here and in `metrics`, only the last part is shown.
        metrics: Figures by name. `SPLIT_accuracy` gets an interval if there is `SPLIT_sentences`, and `SPLIT_loss` if
            there is `SPLIT_loss_standard_error`. `NAME_interval` (`low` and `high`) is that of the figure NAME.
            `epochs` (rows of figures), `environment`, `SPLIT_classes` (core.class_report), `SPLIT_confusion`,
            `calibration` (reliability diagrams and log loss `before` and `after`, core.calibration) and `abstention`
            have their own sections.
        members: Members of the model.
        command: The command that the user ran.

    Returns:
        Markdown. Text from the data cannot become markup.
    """
    figures = (
        (_words(name), _shown(last_part(value)), _spread(name, value, metrics), _meaning(name))
        for name, value in metrics.items()
        if name not in _METRICS_ELSEWHERE
        and not name.endswith(("_standard_error", "_interval"))
        and f"{name.removesuffix('loss')}log_loss" not in metrics  # the same figure
    )
    line = printable(without_folders(command))
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", line)), default=0))  # longer than any in the command
    sections = [
        f"# Sentence classifier trained on {escape_markdown(last_part(source.get('dataset', 'unnamed data')))}",
        f"{_architecture(members)}It gives each text one of the labels in `labels.json`, with a probability.",
        "## Data",
        _table(("what", "value"), _pairs({k: v for k, v in source.items() if k not in _SOURCE_ELSEWHERE})),
        *_part("### Audit", _table(("what", "value"), _pairs(source.get("audit") or {}))),
        "## Figures",
        _table(("figure", "value", "95% interval", "meaning"), figures),
        *_classes(metrics, "val", "### Classes of the validation split"),
        *_classes(metrics, "test", "### Classes of the test split"),
        *_calibration(metrics.get("calibration")),
        *_abstention(metrics.get("abstention")),
        *_part("### Epochs", _epochs(metrics.get("epochs") or ())),
        *(part for member in members for part in _settings(member, single=len(members) == 1)),
        *_part("### Runtime environment", _table(("what", "value"), _pairs(metrics.get("environment") or {}))),
        "## Limits",
        _LIMITS.format(
            words=_vocabulary_limit(members, has_vectors=source.get("vectors", "none") != "none"),
            calibration=_NOT_CALIBRATED if metrics.get("temperature", 1) == 1 else _CALIBRATED,
        ),
        "## Licences",
        f"- data: {escape_markdown(source.get('licence') or 'not known')}\n"
        f"- word vectors: {escape_markdown(source.get('vectors_licence') or 'none used, or not known')}",
        "## Use",
        _USE,
        "## Command",
        f"{fence}\n{line}\n{fence}",
    ]
    return "\n\n".join(sections) + "\n"


_USE = """\
- shell: `sentune predict FOLDER "a text"`, or with `--file` one text per line
- Python: `from core import load_model`, then `load_model("FOLDER").predict(["a text"])`
- without torch: `sentune export FOLDER --format onnx --out OTHER`"""

_CALIBRATED = (
    "Probabilities are calibrated by one temperature for texts like the data above; for other texts they may be wrong."
)
_NOT_CALIBRATED = (
    "Probabilities are not calibrated, and may be too extreme or not extreme enough: a temperature is fitted with at "
    f"least {MIN_SENTENCES} validation sentences and {MIN_MISTAKES} mistakes on them."
)
_VERIFIED = (
    "It belongs to trainings that did not see these sentences (on the train split, or on all folds but one), not to "
    "the saved model, which was trained on them"
)
_LIMITS = """\
- {words} The model reads each text on its own.
- Texts unlike the data above (another language, domain, length or time) also get a label, which is often wrong.
- {calibration}
- An interval covers only chance in the choice of sentences, not another seed, split or domain.
- Labels contain judgements, mistakes and biases of their authors: do not use the model for decisions about people."""


def _vocabulary_limit(members: Sequence[Member], *, has_vectors: bool) -> str:
    """Return which words the members know, and what becomes of others."""
    parts, plain = [], any(not isinstance(each, LstmMember) for each in members)
    if any(isinstance(each, LstmMember) for each in members):
        more = ", and the most frequent words of its file of word vectors" if has_vectors else ""
        parts.append(
            f"{'Each LSTM' if plain else 'The model'} knows the words of its training split{more}, at most "
            f"{MAX_WORDS:,} in all. Every other word is `<unk>`."
        )
    if plain:
        parts.append(
            "The plain baseline knows the most frequent words and word pairs of its training sentences, and ignores "
            "all others."
        )
    return " ".join(parts)


def _meaning(name: str) -> str:
    """Return the explanation of a figure; empty if it has none."""
    if name in _EXPLANATIONS:
        return _EXPLANATIONS[name]
    if name.endswith("_over_seeds"):
        return "mean and standard deviation over the models of all seeds, of which one is saved"
    of_split = _EXPLANATIONS.get(name.removeprefix("verified_"))
    return f"{of_split}. {_VERIFIED}" if of_split else ""


def _architecture(members: Sequence[Member]) -> str:
    if len(members) == 1:
        return f"{_member(members[0])} "
    shares = (f"- `{each.name}`, share {each.weight:.4g}: {_member(each)}" for each in members)
    parts = "\n".join(shares)
    return f"An ensemble of {len(members)} members, whose probabilities are averaged:\n\n{parts}\n\n"


def _member(member: Member) -> str:
    if not isinstance(member, LstmMember):
        return "TF-IDF of words and word pairs with logistic regression."
    config = member.config
    layers = f"{config.n_layers} LSTM layer{'s' if config.n_layers > 1 else ''} of width {config.hidden_dim}"
    directions = "in two directions" if config.bidirectional else "in one direction"
    vectors = "Frozen" if config.freeze_embedding else "Trained"
    return f"{vectors} word vectors, {layers} {directions}, {config.pooling} pooling and a linear layer."


def _settings(member: Member, *, single: bool) -> list[str]:
    """Return the settings of an LSTM; the plain baseline has none."""
    if not isinstance(member, LstmMember):
        return []
    rows = ((f"`{name}`", _shown(value)) for name, value in member.config.to_dict().items())
    return [f"## Settings{'' if single else f' of {member.name}'}", _table(("setting", "value"), rows)]


def _calibration(found: Mapping[str, Any] | None) -> list[str]:
    """Return the calibration error, the log loss and the reliability diagrams on the test split."""
    if not found:
        return []
    errors, losses = (describe_errors(found["before"][key], found["after"][key]) for key in ("error", "log_loss"))
    rows = [
        [state, f"{each['low']:.3f} to {each['high']:.3f}", str(each["sentences"]),
         *(f"{each[name]:.4f}" for name in ("confidence", "accuracy"))]
        for state in ("before", "after") for each in found[state]["bins"]
    ]  # fmt: skip
    return [
        "### Calibration on the test split",
        f"Expected calibration error: {errors}. Log loss: {losses}.",
        _table(("", "predicted probability", "sentences", "mean probability", "share of correct predictions"), rows),
    ]


def _abstention(found: Mapping[str, Any] | None) -> list[str]:
    """Return how many sentences get an answer with `predict --min-probability`, and how many answers are correct."""
    if not found:
        return []
    rows = [
        [f"{row['min_probability']:g}", f"{row['sentences'] / found['sentences']:.1%}",
         f"{row['correct'] / row['sentences']:.4f}" if row["sentences"] else ""]
        for row in found["rows"]
    ]  # fmt: skip
    header = ("minimum probability", "answered", "accuracy of the answers")
    return [f"### Answers on the {found['split']} split", _table(header, rows)]


def _spread(name: str, value: Any, metrics: Mapping[str, Any]) -> str:
    """Return the 95% interval of a figure; empty if it has none."""
    split, _, what = name.replace("_log_loss", "_loss").rpartition("_")
    total, error = metrics.get(f"{split}_sentences"), metrics.get(f"{split}_{what}_standard_error")
    if between := metrics.get(f"{name}_interval"):
        low, high, total = between["low"], between["high"], metrics.get(f"{name.split('_')[0]}_sentences")
    elif what == "accuracy" and isinstance(total, int) and total > 0:
        share = wilson(min(total, value * total), total)
        low, high = share.low, share.high
    elif what == "loss" and error is not None:
        low, high = max(0.0, value - Z * error), value + Z * error
    else:
        return ""
    return f"{low:.4f} to {high:.4f}" + (f", on {total:,} sentences" if total else "")


def _classes(metrics: Mapping[str, Any], split: str, heading: str) -> list[str]:
    """Return the tables of the scores of each class and of the confusions; nothing if they were not measured."""
    scores, confusion = metrics.get(f"{split}_classes"), metrics.get(f"{split}_confusion")
    if not scores or not confusion:
        return []
    names = [escape_markdown(each["name"]) for each in scores]
    measures = ("precision", "recall", "f1")
    rows = [
        [name, *(_ratio(each[what], each[f"{what}_interval"]) for what in measures), _shown(each["support"])]
        for name, each in zip(names, scores, strict=True)
    ]
    parts = [heading, _table(("class", "precision", "recall", "F1", "sentences"), rows)]
    if len(names) > WIDEST_MATRIX:
        where = f"`{split}_confusion` in `metrics.json`"
        return [*parts, f"{len(names):,} classes are too many for a confusion matrix here; it is {where}."]
    matrix = [[name, *map(str, row)] for name, row in zip(names, confusion, strict=True)]
    return [
        *parts,
        "Sentences by label (row) and predicted class (column):",
        _table(("label", *names), matrix),
    ]


def _ratio(value: float, interval: Mapping[str, float] | None) -> str:
    between = f" ({interval['low']:.4f} to {interval['high']:.4f})" if interval else ""
    return f"{value:.4f}{between}"


def _epochs(epochs: Sequence[Mapping[str, Any]]) -> str:
    names = list(epochs[0]) if epochs else []
    return _table([_words(name) for name in names], ([_shown(epoch.get(name)) for name in names] for epoch in epochs))


def _pairs(values: Mapping[str, Any]) -> Iterable[Sequence[str]]:
    return ((_words(name), _shown(last_part(value))) for name, value in values.items())


def _words(name: str) -> str:
    return escape_markdown(name.replace("_", " "))


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return escape_markdown(f"{value:.6g}")
    if not isinstance(value, Mapping | list | tuple):
        return escape_markdown(value)
    if isinstance(value, Mapping):
        parts = [f"{_words(str(key))} {_shown(each)}" for key, each in value.items()]
        value = value.values()
    else:
        parts = [_shown(each) for each in value]
    nested = any(isinstance(each, Mapping | list | tuple) for each in value)
    return ("; " if nested else ", ").join(parts) or "none"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a markdown table; empty without rows."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([f"| {' | '.join(header)} |", "|---" * len(header) + "|", *lines]) if lines else ""


def _part(heading: str, body: str) -> list[str]:
    return [heading, body] if body else []
