"""The sentences of a corpus as they stand in its source. A corpus itself holds word ids."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from core.data import datasets
from core.data.located import Options
from core.errors import CorruptionError, DataError, UserError
from core.io import cache


def texts_of(data: Mapping[str, Any], fingerprint: str, split: int, cache_dir: Path | None = None) -> list[str]:
    """The texts of one split, in the order of `Corpus.indices(split)`.

    Only a corpus that is in the cache is read; nothing is built.

    Args:
        data: the arguments of load_corpus that the corpus was made with.
        fingerprint: of the corpus.
        split: TRAIN, VAL or TEST of core.data.corpus.
        cache_dir: as in load_corpus.

    Raises:
        UserError: the corpus is not in the cache, or its source is gone or has changed.
    """
    folder = cache_dir or cache.default_dir()
    try:
        entry = cache.check(folder / "corpora" / fingerprint)
    except (FileNotFoundError, CorruptionError):
        raise UserError(f"the study's data are not in the cache {folder}: run the study's command again") from None
    options = Options(**{name: data[name] for name in Options.__slots__})
    source = datasets.locate(data["dataset"], options, folder)
    if source.inputs != entry.inputs["data"]:
        raise DataError(f"{data['dataset']} has changed since the study was made: put the old file back")
    codes = np.load(entry.path / "split.npy", allow_pickle=False)
    texts = source.read().texts
    return [texts[place] for place in np.flatnonzero(codes == split).tolist()]
