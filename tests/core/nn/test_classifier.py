"""The construction of the classifier, and the reversal of sentences."""

import numpy as np
import pytest
import torch

from core.config import TrialConfig
from core.nn.classifier import SentenceClassifier
from core.nn.seeding import seeded_generator
from core.nn.sequence import reversal_index, reverse
from core.training.learner import as_tensor


def test_initial_weights_depend_on_the_generator_alone() -> None:
    before = torch.get_rng_state()
    models = []
    for _ in range(2):
        model = SentenceClassifier(TrialConfig(hidden_dim=4, n_layers=2, pooling="attention"), 10, 3, 2)
        model.initialize(seeded_generator(1, "weights"))
        models.append(model.state_dict())
        assert torch.equal(torch.get_rng_state(), before)
        torch.rand(1)
        before = torch.get_rng_state()
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])


def test_initial_weights_have_the_spread_of_torchs_layers() -> None:
    model = SentenceClassifier(TrialConfig(hidden_dim=64), 5000, 20, 2)
    model.initialize(seeded_generator(1, "weights"))
    weights = model.state_dict()
    assert abs(weights["embedding.weight"].std().item() - 1) < 0.02
    assert torch.count_nonzero(weights["embedding.weight"][0]) == 0
    for name in ("lstm.0.1.weight_ih_l0", "lstm.0.0.bias_hh_l0"):
        assert 0.95 / 8 < weights[name].abs().max() <= 1 / 8  # 1 / sqrt(hidden)
    assert 0.9 / 128**0.5 < weights["output.weight"].abs().max() <= 1 / 128**0.5


def test_pretrained_vectors_are_used_in_place_and_frozen_on_request() -> None:
    vectors = torch.randn(10, 3)
    for frozen in (False, True):
        model = SentenceClassifier(TrialConfig(hidden_dim=4, freeze_embedding=frozen), 10, 3, 2, vectors)
        model.initialize(seeded_generator(1, "weights"))
        assert model.embedding.weight.data_ptr() == vectors.data_ptr()
        assert model.embedding.weight.requires_grad is not frozen


def test_a_sentence_is_turned_inside_its_length() -> None:
    lengths = torch.tensor([3, 1, 4])
    x = torch.arange(12).reshape(4, 3)  # (T, B)
    round_once = reverse(x, reversal_index(lengths, 4))
    assert round_once.t().tolist() == [[6, 3, 0, 9], [1, 4, 7, 10], [11, 8, 5, 2]]
    assert torch.equal(reverse(round_once, reversal_index(lengths, 4)), x)


@pytest.mark.slow
def test_gradients_take_the_same_way_round() -> None:
    lengths = torch.tensor([3, 1, 4])
    x = torch.randn(4, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: reverse(x, reversal_index(lengths, 4)), x)


def test_read_only_memory_is_shared_without_a_warning_or_copied() -> None:
    array = np.ones((2, 2), np.float32)
    array.flags.writeable = False
    assert as_tensor(array, copy=False).data_ptr() == array.ctypes.data
    assert as_tensor(array, copy=True).data_ptr() != array.ctypes.data
