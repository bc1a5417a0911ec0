"""Prepare data as the tutorial notebook does, in every run: the baseline of benchmarks.data_cache.

It unzips the vectors to disk, tokenises every sentence, pads each to the longest, and splits. Then it reads the vectors
line by line into a matrix for the whole vocabulary.
"""

import shutil
import subprocess
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def unzip(archive: Path, folder: Path) -> Path:
    """Unpack the file in `archive`, with the `unzip` command if it is installed, as the notebook does."""
    name = zipfile.ZipFile(archive).namelist()[0]
    if shutil.which("unzip"):
        subprocess.run(["unzip", "-q", "-o", str(archive), "-d", str(folder)], check=True)
    else:
        with zipfile.ZipFile(archive) as packed:
            packed.extract(name, folder)
    return folder / name


def tokenise(texts: Sequence[str]) -> tuple[list[list[str]], dict[str, int], int]:
    """Return the tokens of each sentence, the ids of all words, and the longest sentence's length."""
    from nltk.tokenize import word_tokenize

    sentences, ids, longest = [], {"<pad>": 0, "<unk>": 1}, 0
    for text in texts:
        tokens = word_tokenize(text.lower().strip(), preserve_line=True)
        sentences.append(tokens)
        for token in tokens:
            if token not in ids:
                ids[token] = len(ids)
        longest = max(longest, len(tokens))
    return sentences, ids, longest


def encode(sentences: Sequence[Sequence[str]], ids: dict[str, int], longest: int) -> np.ndarray:
    """Return word ids (n, longest), padded with 0."""
    return np.array([[ids[token] for token in tokens] + [0] * (longest - len(tokens)) for tokens in sentences])


def split(encoded: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    from sklearn.model_selection import train_test_split

    return list(train_test_split(encoded, labels, test_size=0.1, random_state=42))


def scan(path: Path, ids: dict[str, int]) -> np.ndarray:
    """Return vectors (V, width); words without one get a random vector."""
    with path.open(encoding="utf-8", newline="\n", errors="ignore") as lines:
        _, width = map(int, lines.readline().split())
        table = np.random.default_rng().uniform(-0.25, 0.25, (len(ids), width))
        table[0] = 0
        for line in lines:
            fields = line.rstrip().split(" ")
            if fields[0] in ids:
                table[ids[fields[0]]] = np.array(fields[1:], dtype=np.float32)
    return table
