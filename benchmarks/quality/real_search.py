"""Search on a small part of MR and evaluate the models on the rest of it."""

import dataclasses
from dataclasses import dataclass

import numpy as np
from optuna.trial import TrialState, create_trial

from core.data.corpus import TEST, TRAIN, VAL, Corpus
from core.data.load import load_corpus
from core.stats import Correct
from core.training.evaluate import evaluate
from core.training.loop import train
from core.training.result import TrainResult
from tuning.scheduling.study import StudyConfig
from tuning.scheduling.suggester import Suggester
from tuning.scheduling.virtual_clock import VisibleResult
from tuning.space.load import load_space

REST, UNUSED = 3, 4
"""Codes in `Corpus.split` besides those of core.data.corpus."""
SIZES = {TRAIN: 1600, VAL: 200, TEST: 200}
NAMES = {VAL: "validation", TEST: "test", REST: "rest"}


@dataclass(frozen=True, kw_only=True)
class Found:
    """Which sentences of each part the trials of a search classify correctly."""

    n_train: int
    validation: Correct
    """Each trial's best epoch on validation (T, n); likewise the others."""
    test: Correct
    rest: Correct
    """On the sentences that give the true accuracy (T, m)."""


def search_mr(mr: str | None, *, trials: int, epochs: int, seed: int) -> Found:
    """Suggest with tpe, train and evaluate, one trial after another.

    Args:
        mr: archive or folder of MR; None downloads it.
        trials: number of trials.
        epochs: number of epochs per trial.
        seed: seed of the parts and of the search.
    """
    corpus = parts(load_corpus(f"mr:{mr}" if mr else "mr", seed=seed), seed)
    space = load_space("quick", ["hidden_dim=int(16,64,log)"])
    plan = StudyConfig(space=space, n_trials=trials, epochs=epochs, parallelism=1, seed=seed, stopping=None)
    suggester = Suggester(plan)
    log: list[VisibleResult] = []
    correct: dict[int, list[Correct]] = {VAL: [], TEST: [], REST: []}
    for number in range(trials):
        suggestion = suggester.suggest(log)
        result = train(suggestion.config, corpus)
        for split, rows in correct.items():
            rows.append(right(result, corpus, split))
        trial = create_trial(
            state=TrialState.RUNNING,
            params=suggestion.params,
            distributions=space.distributions(suggestion.params),
            user_attrs={"config": suggestion.config.to_dict(), "origin": suggestion.origin},
        )
        suggester.add(trial)
        log.append(VisibleResult(number, epochs, result.best_val_accuracy))
        print(f"trial {number}: " + ", ".join(f"{NAMES[s]} {correct[s][-1].mean():.4f}" for s in NAMES), flush=True)
    return Found(
        n_train=len(corpus.indices(TRAIN)),
        validation=np.stack(correct[VAL]),
        test=np.stack(correct[TEST]),
        rest=np.stack(correct[REST]),
    )


def right(result: TrainResult, corpus: Corpus, split: int) -> Correct:
    """Return which sentences of a split the trial's best epoch classifies correctly, (n,)."""
    evaluated = evaluate(result.config, result.weights, corpus, split)
    return np.asarray(evaluated.predictions == corpus.labels[corpus.indices(split)])


def parts(corpus: Corpus, seed: int) -> Corpus:
    """Draw sentences at random for each of SIZES; the others are REST, and copies are UNUSED."""
    order = np.random.default_rng(seed).permutation(len(corpus.labels))
    split = np.full(len(order), REST, dtype=np.uint8)
    seen: set[bytes] = set()
    codes = np.repeat(list(SIZES), list(SIZES.values())).tolist()
    for sentence in order:
        words = corpus.tokens[corpus.offsets[sentence] : corpus.offsets[sentence + 1]]
        known = len(seen)
        seen.add(words.tobytes())
        if len(seen) == known:  # a copy
            split[sentence] = UNUSED
        elif codes:
            split[sentence] = codes.pop(0)
    return dataclasses.replace(corpus, split=split, fingerprint=f"{corpus.fingerprint}, parts {seed}")
