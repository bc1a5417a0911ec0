"""Weight dropout: one mask of each direction's hidden-to-hidden weights per batch."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from core.config import TrialConfig
from core.nn.classifier import SentenceClassifier
from core.nn.runtime import autocast
from core.nn.seeding import Dropout, seeded_generator

LENGTHS = torch.tensor([4, 9, 1])
TOKENS = torch.randint(1, 20, (9, 3), generator=torch.Generator().manual_seed(0))  # (T, B)
LABELS = torch.tensor([0, 1, 1])
HIDDEN_WEIGHTS = [f"lstm.{layer}.{direction}.weight_hh_l0" for layer in (0, 1) for direction in (0, 1)]
"""In the order in which their masks are drawn."""


def new_model(probability: float = 0.4) -> SentenceClassifier:
    config = TrialConfig(n_layers=2, hidden_dim=5, pooling="last", fc_dropout=0.0, weight_dropout=probability)
    model = SentenceClassifier(config, 20, 3, 2)
    model.initialize(seeded_generator(1, "weights"))
    return model


def dropout(epoch: int = 1) -> Dropout:
    return Dropout(seeded_generator(7, "dropout", epoch))


def masked(model: SentenceClassifier) -> dict[str, Tensor]:
    """The model's weights, with the hidden-to-hidden ones as the first batch of `dropout()` uses them."""
    draws, weights = dropout(), dict(model.named_parameters())
    return {**weights, **{name: draws(weights[name], 0.4) for name in HIDDEN_WEIGHTS}}


def step_by_step(weights: dict[str, Tensor], tokens: Tensor) -> Tensor:
    """The logits (C,) of one sentence (T,): two bidirectional layers, last states, written out gate by gate."""
    x, ends = weights["embedding.weight"][tokens], []
    for layer in (0, 1):
        directions, ends = [], []
        for back in (0, 1):
            w_ih, w_hh, b_ih, b_hh = (
                weights[f"lstm.{layer}.{back}.{name}_l0"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            h = c = x.new_zeros(5)
            states = []
            for word in x.flip(0) if back else x:
                i, f, g, o = (w_ih @ word + b_ih + w_hh @ h + b_hh).chunk(4)
                c = f.sigmoid() * c + i.sigmoid() * g.tanh()
                h = o.sigmoid() * c.tanh()
                states.append(h)
            ends.append(h)
            directions.append(torch.stack(states[::-1] if back else states))
        x = torch.cat(directions, dim=1)
    return weights["output.weight"] @ torch.cat(ends) + weights["output.bias"]


def test_loss_and_gradients_are_those_of_an_lstm_written_step_by_step() -> None:
    model = new_model().double()
    parameters = list(model.parameters())
    logits = model.forward_batch(model.embedding.weight, TOKENS, LENGTHS, dropout())
    found = F.cross_entropy(logits, LABELS)
    weights = masked(model)
    sentences = zip(TOKENS.t(), LENGTHS, strict=True)
    expected = F.cross_entropy(torch.stack([step_by_step(weights, ids[:n]) for ids, n in sentences]), LABELS)
    assert found.item() == pytest.approx(expected.item(), abs=1e-12)
    gradients = zip(torch.autograd.grad(found, parameters), torch.autograd.grad(expected, parameters), strict=True)
    for (name, _), (ours, theirs) in zip(model.named_parameters(), gradients, strict=True):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-12), name


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_fused_layer_is_bit_identical_to_torchs_module_with_the_masked_weights(precision: str) -> None:
    model, whole = new_model(), new_model(0.0)
    whole.load_state_dict(masked(model))
    vectors = model.embedding.weight.detach()
    with torch.no_grad(), autocast(precision, "cpu"):
        dropped = model.forward_batch(vectors, TOKENS, LENGTHS, dropout())
        assert torch.equal(dropped, whole.forward_batch(vectors, TOKENS, LENGTHS))


def test_the_mask_is_that_of_a_batch() -> None:
    """Equal sentences of a batch have equal logits; the next batch has another mask, the same generator the same."""
    model = new_model()
    tokens, lengths = TOKENS[:, [1, 1]], LENGTHS[[1, 1]]
    draws = dropout()
    first, second = (model.forward_batch(model.embedding.weight, tokens, lengths, draws) for _ in range(2))
    again = model.forward_batch(model.embedding.weight, tokens, lengths, dropout())
    assert torch.equal(first[0], first[1])
    assert not torch.allclose(first, second)
    assert torch.equal(first, again)


def test_a_probability_of_zero_draws_nothing() -> None:
    """So results of settings without weight dropout are those of before it existed."""
    model, draws = new_model(0.0), dropout()
    before = draws.generator.get_state()
    model.forward_batch(model.embedding.weight, TOKENS, LENGTHS, draws)
    assert torch.equal(draws.generator.get_state(), before)
