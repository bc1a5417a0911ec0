"""Simulated trials have their given accuracy, and the figures are those of the best trial."""

import numpy as np
import pytest

from benchmarks.quality.real_search import REST, UNUSED, parts
from benchmarks.quality.selection_bias import chosen_again, disagreement, print_row
from benchmarks.quality.simulated_searches import Kind, at_best_epoch, covers, outcome, simulated, simulated_outcomes
from core.data.corpus import TEST, TRAIN, VAL
from core.stats import Interval
from tests.support.corpora import tiny_corpus


@pytest.mark.parametrize("shared", [0.0, 0.6, 1.0])
def test_a_simulated_trial_is_as_accurate_as_it_should_be(shared: float) -> None:
    accuracies = np.array([0.6, 0.78, 0.9])
    found = simulated(np.random.default_rng(0), accuracies, 100_000, shared).mean(axis=1)
    assert found == pytest.approx(accuracies, abs=0.006)


def test_trials_fail_on_the_same_sentences_as_far_as_they_share_the_difficulty() -> None:
    differing = [disagreement(simulated(np.random.default_rng(0), np.full(4, 0.78), 5000, s)) for s in (0.0, 0.6, 1.0)]
    assert differing[0] == pytest.approx(2 * 0.78 * 0.22, abs=0.02)
    assert differing[0] > differing[1] > differing[2] == 0


@pytest.mark.slow
def test_a_trial_at_its_best_epoch_is_better_where_the_epoch_was_chosen_and_as_good_elsewhere() -> None:
    kind = Kind(accuracies=lambda draw: np.full(200, 0.78), shared=0.0, epochs=5)
    found = at_best_epoch(np.random.default_rng(0), np.full(200, 0.78), 400, 5400, kind)
    assert found[:, :400].mean() > 0.785
    assert found[:, 400:].mean() == pytest.approx(0.78, abs=0.002)


def test_the_test_and_the_truth_are_those_of_the_winner() -> None:
    validation = np.array([[1, 0, 0, 0], [1, 1, 1, 0], [1, 1, 1, 0]], dtype=bool)
    test = np.array([[1, 1, 1, 1], [0, 1, 0, 0], [1, 1, 1, 1]], dtype=bool)
    found = outcome(validation, test, [0.9, 0.4, 0.8], repeats=50, seed=0)
    assert (found.raw, found.test, found.true) == (0.75, 0.25, 0.4)


def test_a_search_is_the_same_each_time_and_another_with_another_seed() -> None:
    def run(seed: int) -> list[float]:
        kind = Kind(accuracies=lambda draw: draw.uniform(0.6, 0.8, 5), shared=0.5)
        found = simulated_outcomes(3, kind, sentences=60, repeats=20, seed=seed)
        return [o.corrected for o in found]

    assert run(1) == run(1) != run(2)


def test_models_are_chosen_again_on_sentences_that_are_not_their_truth() -> None:
    correct = np.zeros((2, 30), dtype=bool)
    correct[0, :10] = correct[1, 10:] = True
    for found in chosen_again(correct, 5, 20):
        assert found.true in [hits / 20 for hits in range(21)]
        assert found.raw >= 0.6


def test_parts_do_not_overlap_and_copies_are_in_none() -> None:
    corpus = tiny_corpus(n_sentences=2400, n_words=300)
    found = parts(corpus, 1)
    assert [len(found.indices(code)) for code in (TRAIN, VAL, TEST)] == [1600, 200, 200]
    sentences = [corpus.tokens[a:b].tobytes() for a, b in zip(corpus.offsets[:-1], corpus.offsets[1:], strict=True)]
    used = [sentence for sentence, code in zip(sentences, found.split, strict=True) if code != UNUSED]
    assert len(used) == len(set(used)) == len(set(sentences))
    assert len(found.indices(REST)) == len(used) - 2000
    assert found.fingerprint != corpus.fingerprint != parts(corpus, 2).fingerprint


def test_a_row_shows_means_errors_and_coverage(capsys: pytest.CaptureFixture[str]) -> None:
    validation = np.array([[1, 1, 1, 0]], dtype=bool)
    found = [outcome(validation, validation, [truth], repeats=20, seed=0) for truth in (0.70, 0.60)]
    print_row("two", found)
    cells = [cell.strip() for cell in capsys.readouterr().out.strip("|\n ").split("|")]
    assert (cells[0], cells[1], cells[4], cells[5]) == ("two", "0.7500", "0.6500", "+10.00 +- 5.00")
    assert covers(Interval(low=0.2, high=0.3), 0.3)
    assert not covers(Interval(low=0.2, high=0.3), 0.31)
