"""core.nn.model_size: the formulas equal what follows from the model's parameters."""

import pytest
import torch

from core.config import POOLINGS, TrialConfig
from core.nn.classifier import SentenceClassifier
from core.nn.model_size import count_trainable_parameters, multiplications_per_word


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("freeze", [False, True])
def test_it_is_what_training_changes(pooling: str, bidirectional: bool, freeze: bool) -> None:
    for n_layers in (1, 3):
        config = TrialConfig(
            n_layers=n_layers, hidden_dim=5, bidirectional=bidirectional, pooling=pooling, freeze_embedding=freeze
        )
        model = SentenceClassifier(config, 11, 7, 3)
        model.initialize(torch.Generator().manual_seed(0))
        counted = sum(p.numel() for p in model.parameters() if p.requires_grad)
        assert count_trainable_parameters(config, vocabulary=11, embedding_dim=7, n_classes=3) == counted
        sizes = {name: p.numel() for name, p in model.named_parameters() if name.startswith(("lstm.", "attention."))}
        weights = sum(size for name, size in sizes.items() if ".weight" in name)  # each is used once for a word
        assert multiplications_per_word(config, embedding_dim=7) == weights
