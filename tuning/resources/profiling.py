"""Training steps without a trial around them: how long they take. Nothing is reported, judged or kept."""

import itertools
import math
import time
from collections.abc import Callable, Iterator

from core.config import TrialConfig
from core.data.corpus import TRAIN, VAL, Corpus
from core.nn.model_size import checkpoint_bytes
from core.nn.seeding import Dropout, seeded
from core.training.batching import batches_of, shuffled
from core.training.learner import new_learner

WARM_UP = 2
"""Steps that are not counted, where there are more."""
EVALUATION = 0.35
"""Time of a token in evaluation, against one in training: the forward pass alone."""
DISK_BYTES_A_SECOND = 150e6
"""Checkpoints: written, read again for their checksum, and synced."""


def epoch_seconds(
    config: TrialConfig,
    corpus: Corpus,
    device: str,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Seconds of a whole epoch, from as many training steps as fit into `seconds`: at least one, at most an epoch.

    Args:
        config: what to train.
        corpus: the data.
        device: where.
        seconds: to spend.
        clock: tells the time; a test has one of its own.
    """
    whole = math.ceil(len(corpus.indices(TRAIN)) / config.batch_size) + WARM_UP
    begun = last = clock()
    taken: list[tuple[int, float]] = []  # tokens and seconds of each step
    for tokens in steps(config, corpus, device):
        now = clock()
        taken.append((tokens, now - last))
        last = now
        if now - begun >= seconds or len(taken) == whole:
            break
    counted = taken[WARM_UP:] or taken[-1:]
    a_token = sum(took for _, took in counted) / sum(tokens for tokens, _ in counted)
    lengths = corpus.lengths()
    work = float(lengths[corpus.indices(TRAIN)].sum()) + EVALUATION * float(lengths[corpus.indices(VAL)].sum())
    disk = checkpoint_bytes(config, len(corpus.words), corpus.embedding_dim, len(corpus.classes)) / DISK_BYTES_A_SECOND
    return a_token * work + disk


def steps(config: TrialConfig, corpus: Corpus, device: str, *, longest_first: bool = False) -> Iterator[int]:
    """Train step after step for ever; yields the tokens of each when it is done.

    Args:
        config: what to train.
        corpus: the data.
        device: where.
        longest_first: take the batches with the longest sentences first, which need the most memory.
    """
    lengths, sentences = corpus.lengths(), corpus.indices(TRAIN)
    batches = shuffled(lengths[sentences], config.batch_size, seeded(config.seed, "order", 1))
    if longest_first:
        batches.sort(key=lambda places: -int(lengths[sentences[places]].max()))
    source, learner = batches_of(corpus, device), new_learner(config, corpus, device)
    dropout = Dropout(seeded(config.seed, "dropout", 1, device))
    for places in itertools.cycle(batches):
        float(learner.step(source.batch(sentences[places]), config.learning_rate, dropout))  # waits for a GPU
        yield int(lengths[sentences[places]].sum())
