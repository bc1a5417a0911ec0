"""The fast training step against plain torch, in float64, without leaks between sentences."""

import dataclasses
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from core.config import OPTIMIZERS, POOLINGS, TrialConfig
from core.data.corpus import TRAIN, Corpus
from core.nn.classifier import SentenceClassifier
from core.nn.seeding import Dropout, seeded_generator
from core.training.batching import Batch, CpuBatchSource, shuffled_batches
from core.training.ema import ExponentialMovingAverage
from core.training.learner import Learner, balanced_weights, clip_row_norms, make_learner
from core.training.optim import Optimizer, lr_multiplier
from tests.support.corpora import tiny_corpus
from tests.support.torch_reference import Plain, plain_optimizer, plain_step


def new_model(config: TrialConfig, corpus: Corpus) -> SentenceClassifier:
    vectors = None if corpus.vectors is None else torch.from_numpy(corpus.vectors.copy())
    model = SentenceClassifier(config, len(corpus.words), corpus.embedding_dim, len(corpus.classes), vectors)
    model.initialize(seeded_generator(config.seed, "weights"))
    return model.double()


def batches(corpus: Corpus, size: int, count: int) -> list[Batch]:
    """The first batches of as many epochs as it takes."""
    sentences = corpus.indices(TRAIN)
    found: list[Batch] = []
    for epoch in range(count):
        order = shuffled_batches(corpus.lengths()[sentences], size, seeded_generator(0, "order", epoch))
        found += [CpuBatchSource(corpus).batch(sentences[places]) for places in order]
    return found[:count]


def plainly(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Padded word ids (B, T), lengths, labels."""
    return batch.rows[batch.tokens].t(), batch.lengths, batch.labels


def assert_agrees(
    config: TrialConfig,
    corpus: Corpus,
    max_norm: float | None = None,
    *,
    steps: int,
    class_weights: Tensor | None = None,
) -> None:
    model = new_model(config, corpus)
    plain = Plain(model, max_norm)
    optimizer = plain_optimizer(config, plain)
    learner = Learner(model, max_norm=max_norm, class_weights=class_weights)
    for batch in batches(corpus, config.batch_size, steps):
        fast = learner.step(batch, config.learning_rate, None)
        slow = plain_step(plain, optimizer, *plainly(batch), class_weights)
        assert fast.item() == pytest.approx(slow.item(), abs=1e-9)
    for name, value in plain.named(model).items():
        assert torch.allclose(model.state_dict()[name], value, rtol=0, atol=1e-9), name


RATES = {"adadelta": 0.5, "adam": 1e-2, "adamw": 1e-2, "rmsprop": 1e-2}


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    ("bidirectional", "frozen", "steps"),
    [(False, True, 50), (True, False, 50), (False, False, 10), (True, True, 10)],
)
def test_steps_of_each_optimizer_agree_with_plain_torch(
    optimizer: str, bidirectional: bool, frozen: bool, steps: int
) -> None:
    """Fifty steps of each optimizer, kind of LSTM and kind of word vectors, ten of the combinations that are left."""
    config = TrialConfig(
        optimizer=optimizer,
        bidirectional=bidirectional,
        freeze_embedding=frozen,
        n_layers=2,
        hidden_dim=4,
        batch_size=5,
        learning_rate=RATES[optimizer],
        embedding_lr_scale=0.5,
        label_smoothing=0.1,
        clip_norm=0.3,
    )
    assert_agrees(config, tiny_corpus(), steps=steps)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_weight_decay_agrees_with_plain_torch(optimizer: str) -> None:
    """It moves every word vector at every step, whether its word occurs or not."""
    config = TrialConfig(
        optimizer=optimizer, hidden_dim=4, batch_size=9, learning_rate=RATES[optimizer], weight_decay=0.05
    )
    assert_agrees(config, tiny_corpus(n_words=80), steps=15)


@pytest.mark.slow
@pytest.mark.parametrize(("pooling", "bidirectional"), list(product(POOLINGS, [False, True])))
def test_every_pooling_agrees_with_plain_torch(pooling: str, bidirectional: bool) -> None:
    config = TrialConfig(pooling=pooling, bidirectional=bidirectional, n_layers=2, hidden_dim=5, batch_size=16)
    assert_agrees(config, tiny_corpus(n_classes=3), steps=4)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_max_norm_shortens_vectors_as_torchs_embedding_does(optimizer: str) -> None:
    config = TrialConfig(optimizer=optimizer, hidden_dim=4, batch_size=9, learning_rate=RATES[optimizer])
    assert_agrees(config, tiny_corpus(pretrained=False, n_words=80), max_norm=2.0, steps=15)


def test_class_weights_agree_with_plain_torch() -> None:
    config = TrialConfig(hidden_dim=4, class_weight="balanced", learning_rate=1e-2, batch_size=8)
    weights = torch.tensor([0.25, 3.0, 1.5], dtype=torch.float64)
    assert_agrees(config, tiny_corpus(n_classes=3), steps=10, class_weights=weights)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("class_weights", [None, torch.tensor([0.25, 3.0, 1.5], dtype=torch.float64)])
def test_the_loss_of_a_target_is_the_expected_loss_of_its_labels(
    smoothing: float, class_weights: Tensor | None
) -> None:
    corpus, target = tiny_corpus(n_classes=3), torch.tensor([[0.5, 0.2, 0.3]], dtype=torch.float64)
    config = TrialConfig(hidden_dim=4, label_smoothing=smoothing)
    batch = CpuBatchSource(corpus).batch(corpus.indices(TRAIN)[:1])

    def loss(**changes: Tensor) -> float:
        learner = Learner(new_model(config, corpus), class_weights=class_weights)
        return learner.step(dataclasses.replace(batch, **changes), 0.1, None).item()

    expected = [share * loss(labels=torch.tensor([label])) for label, share in enumerate(target[0].tolist())]
    assert loss(targets=target) == pytest.approx(sum(expected), rel=1e-12)


def test_labels_are_smoothed_with_class_weights_too() -> None:
    """Equal weights change no loss."""
    corpus, config = tiny_corpus(n_classes=3), TrialConfig(hidden_dim=4, label_smoothing=0.2)
    batch = CpuBatchSource(corpus).batch(corpus.indices(TRAIN)[:9])
    plain, weighted = (
        Learner(new_model(config, corpus), class_weights=weights).step(batch, 0.1, None).item()
        for weights in (None, torch.ones(3, dtype=torch.float64))
    )
    assert weighted == pytest.approx(plain, rel=1e-12)


def test_class_weights_come_from_the_expected_number_of_sentences() -> None:
    corpus = tiny_corpus(n_classes=2)
    targets = np.tile(np.float32([0.125, 0.875]), (len(corpus.labels), 1))
    learner = make_learner(
        TrialConfig(hidden_dim=4, class_weight="balanced"), dataclasses.replace(corpus, targets=targets), "cpu"
    )
    assert learner.class_weights is not None
    assert learner.class_weights.tolist() == pytest.approx([4.0, 4 / 7])


@pytest.mark.slow
@given(st.lists(st.integers(0, 4), min_size=1, max_size=30))
def test_balanced_weights_are_those_of_scikit_learn(labels: list[int]) -> None:
    found = balanced_weights(np.bincount(labels, minlength=5).astype(float))
    present = np.unique(labels)
    assert found[present] == pytest.approx(compute_class_weight("balanced", classes=present, y=labels), rel=1e-6)
    assert found.sum() == pytest.approx(found[present].sum())  # 0 for the others
    assert found[labels].mean() == pytest.approx(1)


def test_a_new_learner_has_the_weights_of_the_train_split() -> None:
    corpus = tiny_corpus(n_classes=3)
    learner = make_learner(TrialConfig(hidden_dim=4, class_weight="balanced"), corpus, "cpu")
    expected = balanced_weights(np.bincount(corpus.labels[corpus.indices(TRAIN)]).astype(float))
    assert learner.class_weights is not None
    assert learner.class_weights.tolist() == expected.tolist()
    assert make_learner(TrialConfig(hidden_dim=4), corpus, "cpu").class_weights is None


@pytest.mark.slow
@pytest.mark.parametrize("dropped", [0.0, 0.4])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_padding_row_stays_zero(optimizer: str, dropped: float) -> None:
    corpus = tiny_corpus(pretrained=False)
    config = TrialConfig(optimizer=optimizer, hidden_dim=4, embedding_dropout=dropped, weight_decay=0.01)
    learner = Learner(new_model(config, corpus))
    for step, batch in enumerate(batches(corpus, 8, 20)):
        learner.step(batch, 0.1, Dropout(seeded_generator(0, "dropout", step)))
    assert torch.count_nonzero(learner.words[0]) == 0


@pytest.mark.parametrize("pooling", POOLINGS)
def test_no_sentence_sees_its_neighbours_or_padding(pooling: str) -> None:
    """Another neighbour, and anything at all after the end, leave a sentence's logits and gradients as they are."""
    config = TrialConfig(pooling=pooling, n_layers=2, hidden_dim=5)
    model = new_model(config, tiny_corpus())
    lengths = torch.tensor([4, 9, 1])
    tokens = torch.randint(1, 40, (3, 9), generator=torch.Generator().manual_seed(0))
    other = tokens.clone()
    other[0, 4:] = 7  # after the end of the first
    other[1] = 11  # the neighbour, all of it
    results = []
    for ids in (tokens, other):
        vectors = model.embedding.weight[ids].detach().requires_grad_()  # (B, T, E)
        places = torch.arange(27).reshape(3, 9).t()
        logits = model.forward_batch(vectors.reshape(27, -1), places, lengths)
        (gradient,) = torch.autograd.grad(logits[0].sum(), vectors)
        results.append((logits[0], gradient[0, :4]))
        assert torch.count_nonzero(gradient[0, 4:]) == 0
        assert torch.count_nonzero(gradient[1:]) == 0
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_not_even_infinite_padding_is_seen() -> None:
    """Poolings mask what follows the end rather than multiply it by zero."""
    from core.nn.sequence import attention_pool, max_pool, mean_pool

    states = torch.ones(5, 2, 3)
    states[2:, 0] = torch.nan
    lengths = torch.tensor([2, 5])
    for pooled in (
        max_pool(states, lengths),
        mean_pool(states, lengths),
        attention_pool(states, states[:, :, :1], lengths),
    ):
        assert torch.equal(pooled, torch.ones(2, 3))


@pytest.mark.slow
def test_the_average_is_the_average_of_the_weights_after_each_step() -> None:
    """Also for word vectors that rest for many steps: bias-corrected, against the sum written out."""
    for optimizer in OPTIMIZERS:
        config = TrialConfig(optimizer=optimizer, hidden_dim=4, ema_decay=0.9, learning_rate=RATES[optimizer])
        corpus = tiny_corpus(n_words=200, pretrained=False)
        learner = Learner(new_model(config, corpus), max_norm=1.5)
        total = {name: torch.zeros_like(value) for name, value in learner.model.state_dict().items()}
        for step, batch in enumerate(batches(corpus, 5, 30), start=1):
            learner.step(batch, config.learning_rate, None)
            for name, value in learner.model.state_dict().items():
                total[name].mul_(0.9).add_(value, alpha=0.1)
            if step % 10 == 0:  # reading must not disturb it
                average = learner.evaluation_weights()
                for name, value in total.items():
                    expected = value / (1 - 0.9**step)
                    if name == "embedding.weight":
                        expected = clip_row_norms(expected, 1.5)
                    assert torch.allclose(average[name], expected, rtol=0, atol=1e-12), (optimizer, name)


def test_the_average_of_a_table_that_rests_stays_exact_with_a_decay_near_one() -> None:
    table = torch.linspace(0.5, 2, 6).view(3, 2)
    optimizer = Optimizer(TrialConfig(optimizer="rmsprop"), torch.ones(1), table)
    average = ExponentialMovingAverage(1 - 1e-8, optimizer)
    optimizer.step_count = 5
    torch.testing.assert_close(average.averaged()[1], table, rtol=1e-5, atol=0)


def test_clipping_counts_the_word_vectors_gradient() -> None:
    """With a bound far below the gradient, one plain gradient step has exactly that length."""
    corpus = tiny_corpus()
    config = TrialConfig(optimizer="rmsprop", hidden_dim=4, clip_norm=1e-3)
    learner = Learner(new_model(config, corpus))
    gradients: list[Tensor] = []
    learner.optimizer.step = lambda rate, flat, rows, vectors, words: gradients.extend([flat, words])  # type: ignore[method-assign]
    learner.step(batches(corpus, 8, 1)[0], 0.1, None)
    assert gradients[1].norm() > 0
    assert torch.cat([s.reshape(-1) for s in gradients]).norm().item() == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize(
    ("schedule", "done", "losses", "factor"),
    [
        ("constant", 0.9, [1.0, 2.0], 1.0),
        ("cosine", 0.0, [], 1.0),
        ("cosine", 0.5, [], 0.5),
        ("cosine", 0.75, [], (1 - 2**-0.5) / 2),
        ("plateau", 0.0, [], 1.0),
        ("plateau", 0.5, [1.0, 0.9, 0.8], 1.0),
        ("plateau", 0.5, [1.0, 1.0, 0.8], 0.5),
        ("plateau", 0.5, [1.0, 1.1, 0.8, 0.9, 0.7], 0.25),
    ],
)
def test_the_learning_rate_follows_its_schedule(schedule: str, done: float, losses: list[float], factor: float) -> None:
    assert lr_multiplier(schedule, done, losses) == pytest.approx(factor)


def test_lazy_adam_moves_only_words_that_occur() -> None:
    corpus = tiny_corpus(n_words=200)
    moved = {}
    for lazy in (False, True):
        config = TrialConfig(hidden_dim=4, inexact_lazy_adam=lazy)
        learner = Learner(new_model(config, corpus))
        first, second = batches(corpus, 4, 2)
        learner.step(first, 0.1, None)
        before = learner.words.clone()
        learner.step(second, 0.1, None)
        moved[lazy] = set(np.flatnonzero((learner.words != before).any(dim=1).numpy()).tolist())
    occur = set(second.rows.tolist()) - {0}
    assert moved[True] == occur
    assert moved[False] == occur | (set(first.rows.tolist()) - {0})


def test_a_batch_of_one_word_is_learned() -> None:
    corpus = tiny_corpus()
    learner = Learner(new_model(TrialConfig(hidden_dim=4), corpus))
    shortest = np.argsort(corpus.lengths())[:1]
    assert learner.step(CpuBatchSource(corpus).batch(shortest), 0.1, None).isfinite()
