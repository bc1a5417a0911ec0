"""The construction of the classifier."""

import numpy as np
import torch

from core.config import TrialConfig
from core.nn.classifier import SentenceClassifier
from core.nn.seeding import seeded_generator
from core.training.learner import as_tensor


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


def test_read_only_memory_is_shared_without_a_warning_or_copied() -> None:
    array = np.ones((2, 2), np.float32)
    array.flags.writeable = False
    assert as_tensor(array, copy=False).data_ptr() == array.ctypes.data
    assert as_tensor(array, copy=True).data_ptr() != array.ctypes.data
