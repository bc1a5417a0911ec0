"""Export a saved model as a folder for onnxruntime, which predicts without torch, NLTK and sentune.

model.onnx        the classifier, see core.inference.onnx_graph
tokenizer.json    text to tokens as regular expressions, see core.data.tokenizer
vocabulary.json   the words, in id order
labels.json       the class names, in label order
card.md           the saved model's card
example.py        twenty lines that use it
SHA256SUMS        digests of the files above
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from core.data.tokenizer import tokenizer_as_regexes
from core.errors import UserError
from core.inference.members import LstmMember, PlainMember, tensors_of
from core.inference.predictor import Predictor, pad_token_ids
from core.io.checked_folder import check_output_folder, readable_json, replace_checked_folder

ONNX_FILES = ("model.onnx", "tokenizer.json", "vocabulary.json", "labels.json", "card.md", "example.py")
MAX_ONNX_BYTES = (1 << 31) - (1 << 23)
"""Maximum size of the weights: the file format allows 2 GiB, and the features of a plain baseline take up to 5 MiB."""
TOLERANCE = 1e-5
"""Largest difference of a probability between an export and its model."""

EXAMPLE = '''\
"""Label sentences: pip install onnxruntime regex, then: python example.py "a sentence", or a pipe of lines."""

import json, pathlib, re, sys, unicodedata
import numpy, onnxruntime, regex

here = pathlib.Path(__file__).resolve().parent

def read(name):
    return json.loads((here / f"{name}.json").read_text())

rule, words, labels = read("tokenizer"), read("vocabulary"), read("labels")
engines = {"re": re, "regex": regex}
steps = [(engines[engine].compile(pattern, flags), new) for engine, pattern, flags, new in rule["steps"]]
ids = {word: place for place, word in enumerate(words)} | {"<pad>": 1}  # 1 is the unknown word
session = onnxruntime.InferenceSession(str(here / "model.onnx"), providers=["CPUExecutionProvider"])
sys.stdin.reconfigure(encoding="utf-8-sig", errors="replace"); sys.stdout.reconfigure(errors="backslashreplace")

for text in sys.argv[1:] or map(str.rstrip, sys.stdin):
    split = unicodedata.normalize("NFC", text.lower())
    for pattern, new in steps:
        split = pattern.sub(new, split)
    tokens = [[ids.get(token, 1) for token in split.split()] or [1]]  # several sentences: pad with 0 behind the end
    feed = {"tokens": numpy.array(tokens, "int64"), "lengths": numpy.array([len(row) for row in tokens], "int64")}
    for row in session.run(["probabilities"], feed)[0]:
        print(labels[row.argmax()], f"{row.max():.4f}", text, sep="\\t")
'''


def export_onnx(model: Predictor, source: Path, out: Path, notify: Callable[[str], None]) -> float:
    """Write the folder if the graph gives the same probabilities as the model.

    Args:
        model: The model, loaded from `source`.
        source: Folder of the model.
        out: The folder to write; an earlier export is replaced as a whole.
        notify: Called if the probabilities will differ because the model predicts in bf16.

    Returns:
        The largest difference of a probability between the two, on sentences of the model's own words.

    Raises:
        UserError: A package is missing, the model is too large for the format, the probabilities differ, or `out`
            contains something else, is in the folder of the model, or cannot be written.
    """
    target = check_output_folder(out, ONNX_FILES, "ONNX export")
    if Path(os.path.realpath(source)) in target.parents:  # `retrain` would not replace that folder any more
        raise UserError(f"{out} is in the folder of the model; choose another folder")
    size = sum(value.nbytes for member in model.members for value in tensors_of(member).values())
    if size > MAX_ONNX_BYTES:
        most = f"more than the {MAX_ONNX_BYTES >> 20:,} MiB of an ONNX file"
        raise UserError(f"the model in {source} has {size >> 20:,} MiB of weights, {most}; choose a smaller model")
    try:
        import onnxruntime  # noqa: F401

        from core.inference.onnx_graph import build_graph
    except ModuleNotFoundError as error:
        raise UserError(f"--format onnx needs the package {error.name}; run pip install onnx onnxruntime") from error
    graph: bytes = build_graph(model.members, len(model.classes), model.temperature).SerializeToString()
    if any(isinstance(member, LstmMember) and member.config.precision != "fp32" for member in model.members):
        notify("predict computes in bf16 (a precision of 8 bits), the export in fp32: their probabilities may differ")
    difference = largest_difference(model, graph)
    if not difference <= TOLERANCE:
        raise UserError(
            f"onnxruntime's probabilities differ from the model's by {difference:.1e}, more than {TOLERANCE:.0e}, so "
            "nothing was written; install another version of onnxruntime"
        )
    contents = {
        "model.onnx": graph,
        "tokenizer.json": readable_json(tokenizer_as_regexes(model.vocabulary.words, model.tokenizer)),
        "vocabulary.json": readable_json(model.vocabulary.words),
        "labels.json": readable_json(model.classes),
        "card.md": model.card,
        "example.py": EXAMPLE.encode(),
    }
    replace_checked_folder(target, contents, ONNX_FILES)
    return difference


def largest_difference(model: Predictor, graph: bytes) -> float:
    """Return the largest difference between a graph's and the model's probabilities in float32, on random sentences.

    For each length up to 64 there is a sentence of random words, and one of random features of a plain baseline.
    """
    import onnxruntime

    rng = np.random.default_rng(0)
    sentences = [rng.integers(1, len(model.vocabulary), length).tolist() for length in range(1, 65)]
    for member in model.members:
        if isinstance(member, PlainMember) and len(member.baseline.ngrams):
            drawn = (rng.choice(member.baseline.ngrams, length).ravel() for length in range(1, 65))
            sentences += [ids[ids > 0].tolist() for ids in drawn]
    tokens, lengths = pad_token_ids(sentences)
    expected = model.calibrate(model.log_probabilities(sentences, precision="fp32"))
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    (found,) = session.run(["probabilities"], {"tokens": tokens.numpy(), "lengths": lengths.numpy()})
    return float(np.abs(found - expected).max())
