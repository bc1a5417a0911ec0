"""tuning.resources.allocation: the heaviest settings of a space, and what they weigh."""

import pytest
import torch

from core.config import TrialConfig
from core.errors import ConfigError
from core.nn.model_size import checkpoint_bytes, least_bytes, trained_numbers
from core.training.learner import new_learner
from tests.support.corpora import tiny_corpus
from tuning.resources.allocation import check_memory, heaviest
from tuning.space.load import load_space


def test_the_corner_is_the_largest_of_everything_that_weighs() -> None:
    corner, *_ = heaviest(load_space("default"), seed=1, epochs=2)
    assert (corner.n_layers, corner.hidden_dim, corner.batch_size) == (3, 512, 64)
    assert (corner.bidirectional, corner.pooling, corner.freeze_embedding) == (True, "attention", False)
    assert (corner.optimizer, corner.ema_decay, corner.seed) == ("adamw", 0.999, 1)


def test_the_notebooks_trial_is_looked_at_where_it_is_larger_than_the_space() -> None:
    small = load_space("notebook", ["hidden_dim=int(8,16)", "n_layers=1"])
    assert [config.hidden_dim for config in heaviest(small)] == [16, 128]
    assert [config.hidden_dim for config in heaviest(load_space("default"))] == [512]
    frozen = load_space("quick", ["freeze_embedding=true"])  # trained word vectors weigh more than wide layers
    assert [config.hidden_dim for config in heaviest(frozen)] == [192, 128]


@pytest.mark.parametrize("pooling", ["last", "mean+max", "attention"])
@pytest.mark.parametrize(
    "settings", [{"n_layers": 3}, {"bidirectional": False, "n_layers": 2}, {"optimizer": "rmsprop"}]
)
@pytest.mark.parametrize("ema_decay", [None, 0.9])
@pytest.mark.parametrize("freeze_embedding", [False, True])
def test_weights_and_checkpoints_are_counted_as_the_model_has_them(
    pooling: str, settings: dict[str, object], ema_decay: float | None, freeze_embedding: bool
) -> None:
    corpus = tiny_corpus()
    config = TrialConfig(hidden_dim=6, pooling=pooling, ema_decay=ema_decay, freeze_embedding=freeze_embedding).replace(
        **settings
    )
    learner = new_learner(config, corpus, "cpu")
    shape = (len(corpus.words), corpus.embedding_dim, len(corpus.classes))
    trained = learner.flat.numel() + (0 if freeze_embedding else learner.words.numel())
    assert trained_numbers(config, *shape) == trained
    kept = sum(t.numel() * 4 for t in learner.tensors().values() if t.dtype == torch.float32)
    kept += 4 * learner.flat.numel() + (0 if freeze_embedding else 4 * learner.words.numel())  # the best epoch's
    assert checkpoint_bytes(config, *shape) == kept
    assert least_bytes(config, *shape) == kept - 4 * trained + 4 * learner.flat.numel()  # none of the best, a gradient


def test_settings_that_no_memory_here_holds_are_refused_with_what_would() -> None:
    configs = [TrialConfig(hidden_dim=8192, n_layers=8), TrialConfig()]
    with pytest.raises(
        ConfigError, match=r"hidden_dim 8192 with n_layers 8 .* needs \d+\.\d GB .* this machine has 24\.0 GB: "
    ):
        check_memory(configs, (20_000, 50, 2), 24_000_000_000, "this machine")
    check_memory(configs, (20_000, 50, 2), 0, "a machine that tells nothing")
    check_memory(configs[1:], (20_000, 50, 2), 24_000_000_000, "this machine")
