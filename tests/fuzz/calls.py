"""Calls of the Python API: of `tuning` with values of every type, of `core` with the types that are declared."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fuzz.arguments import NUMBERS, PATHS, TEXTS
from tests.fuzz.draws import VALUES
from tests.fuzz.place import DATA, MODEL, SPACE, VECTORS

Make = Callable[[Path], object]
"""Makes the call; the argument is the place."""
SEARCH = (
    "vectors", "tokenizer", "space", "set", "trials", "epochs", "epoch_sentences", "parallelism", "lag", "sampler",
    "no_baseline", "first_trials", "warm_start", "stopping", "grace", "reduction", "metric", "patience", "precision",
    "cpus_per_trial", "gpus_per_trial", "retry_oom", "time_budget", "target", "patience_trials", "workers", "name",
    "results", "text", "label", "drop_missing", "probability_columns", "split_column", "split", "validation",
    "encoding", "embedding_dim", "allow_leak", "seed", "cache_dir", "storage",
)  # fmt: skip
METHODS = {
    "table": ("top", "state", "where", "sort"),
    "retrain": ("trial", "on", "seeds", "threads", "precision", "dataset", "vectors", "out"),
    "ensemble": ("size", "max_cost", "on", "workers", "dataset", "vectors", "out"),
    "confirm": ("top", "seeds", "folds", "workers", "dataset", "vectors"),
    "report": ("path", "images"),
}
"""Methods of a study, and their keywords."""
LOAD = ("dataset", "vectors", "text_column", "label_column", "split_column", "split", "encoding", "tokenizer",
        "validation")  # fmt: skip
SHOWABLE, PATHS_OF_CORE = ([text for text in pool if len(text) < 900 and "\n" not in text] for pool in (TEXTS, PATHS))
"""Values for `core`, whose messages are escaped and shortened by those who show them."""
INTEGERS = (0, 1, -1, 2, 7, 4096, 2**31, 2**32, 2**63, 10**20, -(10**20))
FLOATS = (0.0, 1.0, -0.5, 0.5, 2.0, 1e300, 5e-324, float("nan"), float("inf"), float("-inf"))


def call(draw: random.Random) -> tuple[str, Make, tuple[str, ...]]:
    """Return the text of a call, what makes it, and the paths that it names as its output."""
    kinds = (_search, _search, _frame, _load_study, _corpus, _config, _predict)
    kind = draw.choice((None, None, *kinds))
    return _study(draw) if kind is None else (*kind(draw), ())


def _value(draw: random.Random, name: str = "") -> Any:
    pool = draw.choice((VALUES, VALUES, TEXTS, NUMBERS, PATHS))
    value = draw.choice(pool)
    return (
        "x" if value in ("/", "..") and name in ("out", "path", "images", "results", "cache_dir", "storage") else value
    )


def _keywords(draw: random.Random, names: tuple[str, ...], count: int = 3) -> dict[str, Any]:
    return {name: _value(draw, name) for name in draw.sample(names, draw.randint(1, min(count, len(names))))}


def _text(name: str, values: dict[str, Any]) -> str:
    return f"{name}({', '.join(f'{key}={ascii(value)[:80]}' for key, value in values.items())})"


def _search(draw: random.Random) -> tuple[str, Make]:
    from tuning import search

    options = {"vectors": "none", "embedding_dim": 4} | _keywords(draw, SEARCH)
    data = draw.choice((DATA, DATA, _value(draw)))
    return _text(f"search({ascii(data)[:80]}, ...)", options), lambda _: search(data, **options)


def _frame(draw: random.Random) -> tuple[str, Make]:
    """A search on data from memory, with cells of every type."""
    import pandas as pd

    from tuning import search

    texts, labels = ([draw.choice((f"film {at}", _value(draw))) for at in range(30)] for _ in range(2))
    if draw.random() < 0.7:
        labels = [draw.choice("ab") for _ in texts]
    options = {"vectors": "none", "embedding_dim": 4, **draw.choice(({}, _keywords(draw, ("text", "label", "name"))))}

    def make(_: Path) -> object:
        if draw.random() < 0.5:
            return search((texts, labels[: draw.choice((30, 30, 3))]), **options)
        return search(pd.DataFrame({"text": texts, "label": labels}, dtype=object), **options)

    return f"search(data, {options}) of {ascii(texts)[:120]}, {ascii(labels)[:80]}", make


def _study(draw: random.Random) -> tuple[str, Make, tuple[str, ...]]:
    from tuning import load_study

    method = draw.choice(list(METHODS))
    options = _keywords(draw, METHODS[method])

    def make(place: Path) -> object:
        return getattr(load_study(place / "results" / "good"), method)(**options)

    written = tuple(str(options[name]) for name in ("out", "path", "images") if name in options)
    if method == "retrain":
        written += ("results/good/model",)  # where a model is saved by default
    return _text(f"study.{method}", options), make, written


def _load_study(draw: random.Random) -> tuple[str, Make]:
    from tuning import load_study

    name = draw.choice((draw.choice(PATHS), _value(draw)))
    options = draw.choice(({}, _keywords(draw, ("results", "cache_dir"))))
    return _text(f"load_study({ascii(name)[:80]})", options), lambda _: load_study(name, **options).best


def _corpus(draw: random.Random) -> tuple[str, Make]:
    from core import load_corpus

    texts = {
        name: draw.choice(draw.choice((SHOWABLE, PATHS_OF_CORE))) for name in draw.sample(LOAD, draw.randint(0, 2))
    }
    vectors = draw.choice(({"vectors": "none", "embedding_dim": 4}, {"vectors": VECTORS}))
    options: dict[str, Any] = {"dataset": DATA, **vectors, **texts}
    if draw.random() < 0.5:
        options |= {draw.choice(("embedding_dim", "seed")): draw.choice(INTEGERS)}
    return _text("load_corpus", options), lambda _: load_corpus(**options)


def _config(draw: random.Random) -> tuple[str, Make]:
    from core import TrialConfig
    from tuning.space.load import load_space

    names = tuple(TrialConfig.__dataclass_fields__)
    options = _keywords(draw, names)
    if draw.random() < 0.5:
        return _text("TrialConfig.from_dict", options), lambda _: TrialConfig.from_dict(
            TrialConfig().to_dict() | options
        )
    texts = [f"{name}={value}" for name, value in options.items()]
    return f"load_space({SPACE!r}, {ascii(texts)[:120]})", lambda _: load_space(SPACE, texts)


def _predict(draw: random.Random) -> tuple[str, Make]:
    from core import load_model

    folder, least = draw.choice((MODEL, MODEL, draw.choice(PATHS_OF_CORE))), draw.choice((None, *FLOATS))
    texts = draw.choice(([], ["x"], ["\ud800", "", "\x00" * 9], ["x " * 9000], [draw.choice(TEXTS)]))
    return f"load_model({ascii(folder)[:80]}).predict({ascii(texts)[:80]}, {least!r})", lambda _: load_model(
        folder
    ).predict(texts, least)
