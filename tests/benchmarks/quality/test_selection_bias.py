"""The searches of the benchmark are replayed on recorded predictions, and compared with the truth."""

import numpy as np
import pytest

from benchmarks.quality import ensemble_selection
from benchmarks.quality.confirm_verdicts import simulate_answers, verdicts
from benchmarks.quality.recorded_epochs import RecordedEpochs, configurations
from benchmarks.quality.selection_bias import (
    EPOCHS,
    NO_FOLDER,
    claims,
    draw_search,
    outcome,
    replay_search,
    row,
    study,
    true_accuracies,
)
from core.log_odds import to_probabilities
from core.metrics import sentence_losses
from tuning.analysis.assessment import assess
from tuning.scheduling.virtual_cost import CorpusShape

TRIALS, SENTENCES = 6, 400


@pytest.fixture(scope="module")
def recorded() -> RecordedEpochs:
    """Simulated predictions; trial t has an accuracy of 0.6 + 0.05 t in its last epoch."""
    draw = np.random.default_rng(0)
    labels = np.arange(SENTENCES) % 2
    chance = 0.55 + (0.05 + 0.05 * np.arange(TRIALS))[:, None] * np.linspace(0.2, 1, EPOCHS)
    right = draw.random((TRIALS, EPOCHS, SENTENCES)) < chance[:, :, None]
    predictions = np.where(right, labels, 1 - labels).astype(np.uint8)
    log_odds = (np.where(predictions, 1, -1) * draw.integers(1, 2000, predictions.shape)).astype(np.int16)
    return RecordedEpochs(
        configs=tuple(configurations(TRIALS, EPOCHS, 0)),
        labels=labels,
        predictions=predictions,
        log_odds=log_odds,
        plain_log_odds=log_odds[1, -1],
        shape=CorpusShape(sentences=2000, words=40_000.0, vocabulary=5000, embedding_dim=50, classes=2),
    )


def test_a_search_trains_the_baseline_in_full_and_promotes_the_best(recorded: RecordedEpochs) -> None:
    records = replay_search(recorded, np.arange(TRIALS), np.arange(SENTENCES))
    epochs = [len(record.epochs) for record in records]
    assert epochs[0] == EPOCHS
    assert min(epochs) == 1
    assert EPOCHS in epochs[1:]


def test_the_losses_of_a_search_are_those_of_its_own_validation_sentences(recorded: RecordedEpochs) -> None:
    """They decide ties, which a real search cannot decide by the truth."""
    half = np.arange(SENTENCES // 2)
    records = replay_search(recorded, np.arange(TRIALS), half)
    expected = sentence_losses(recorded.labels[half], to_probabilities(recorded.log_odds[1, 0, half, None])).mean()
    assert records[1].epochs[0].val_loss == pytest.approx(expected, rel=1e-4)


def test_on_the_whole_population_the_raw_figure_is_the_true_one(recorded: RecordedEpochs) -> None:
    chosen = np.arange(TRIALS)
    records = replay_search(recorded, chosen, np.arange(SENTENCES))
    judged, true = assess(records, study(recorded.labels), NO_FOLDER), true_accuracies(recorded, chosen)
    found = outcome(records, judged, true)
    assert found.raw == pytest.approx(0)
    assert found.corrected < 0
    assert found.gain == pytest.approx(0, abs=2)
    assert found.lost == pytest.approx(100 * (true.max() - true[judged.recommended].max()))
    assert found.covered
    assert found.gain_covered


def test_a_row_has_means_and_each_claim_a_verdict(recorded: RecordedEpochs) -> None:
    chosen, draws = np.arange(TRIALS), []
    for seed in range(3):
        sentences = np.random.default_rng(seed).integers(0, SENTENCES, 300)
        records = replay_search(recorded, chosen, sentences)
        judged = assess(records, study(recorded.labels[sentences]), NO_FOLDER)
        draws.append(outcome(records, judged, true_accuracies(recorded, chosen)))
    cells = row((300, TRIALS), draws)
    assert cells["n"] == "300"
    assert cells["recommended loses"].startswith(f"{np.mean([each.lost for each in draws]):+.2f} ")
    lines = list(claims({(1057, 16): draws}, conclusive=True))
    assert len(lines) == 6
    assert all(line.startswith(("holds: n = 1057, 16 trials", "DOES NOT HOLD: n = 1057, 16 trials")) for line in lines)
    assert all(line.startswith("run too small") for line in claims({(1057, 16): draws}, conclusive=False))


def test_on_the_whole_population_the_ensembles_raw_figure_is_the_true_one_of_the_same_rule(
    recorded: RecordedEpochs,
) -> None:
    found = ensemble_selection.outcome(recorded, np.arange(TRIALS), np.arange(SENTENCES))
    assert found.raw == pytest.approx(0)
    assert all(-5 < each < 0 for each in (found.corrected, found.gain, found.over_plain))
    assert found.covered
    assert found.gain_covered
    assert found.over_plain_covered
    rules = found.rules
    assert rules["5 selections (default)"] >= found.best > found.plain
    assert rules["best trial and plain baseline"] != rules["5 best trials"] != found.best


def test_the_tables_of_ensembles_have_a_line_for_each_size_and_rule(recorded: RecordedEpochs) -> None:
    draws = []
    for seed in range(2):
        chosen, sentences = draw_search(recorded, (300, TRIALS), seed)
        assert (chosen[0], sorted(chosen)) == (0, list(range(TRIALS)))
        draws.append(ensemble_selection.outcome(recorded, chosen, sentences))
    assert ensemble_selection.row((300, TRIALS), draws)["n"] == "300"
    off = np.mean([each.corrected for each in draws])
    first, second = ensemble_selection.claims({(300, TRIALS): draws}, conclusive=True)
    assert f"n = 300, {TRIALS} trials: corrected figure is off by {off:+.2f}" in first
    assert second.startswith(("holds: ", "DOES NOT HOLD: "))
    lines = list(ensemble_selection.gains({(300, TRIALS): draws}))
    assert len(lines) == 3 + len(ensemble_selection.RULES)
    assert {line.count("|") for line in lines} == {4}


def test_simulated_settings_differ_by_their_true_difference_and_disagree_as_often_as_they_should() -> None:
    found = simulate_answers(np.random.default_rng(0), 200_000, 3, 0.05)
    assert found.mean() == pytest.approx(0.05, abs=0.02)
    assert np.abs(found).mean() == pytest.approx(0.15, abs=0.005)


def test_the_verdict_of_both_errors_is_never_surer_than_that_of_the_seeds() -> None:
    pairs = [verdicts(np.random.default_rng(seed), 300, 3, 0.0) for seed in range(200)]
    assert all(alone != 0 for alone, both in pairs if both != 0)
    assert sum(both != 0 for _, both in pairs) < sum(alone != 0 for alone, _ in pairs)
