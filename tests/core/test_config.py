"""The rules of numbers, and facts about settings that other modules read from TrialConfig's fields."""

import pytest
import torch

from core.config import COST_ORDER, MAX_SETTING, OPTIMIZERS, POOLINGS, SHORT_NAMES, TrialConfig
from core.errors import ConfigError
from core.nn.model_size import OPTIMIZER_STATE_TENSORS


def test_the_cost_order_has_every_choice() -> None:
    assert set(COST_ORDER["pooling"]) == set(POOLINGS)
    assert set(COST_ORDER["optimizer"]) == set(OPTIMIZERS) == OPTIMIZER_STATE_TENSORS.keys()
    assert COST_ORDER["bidirectional"] == (True, False)


def test_short_names_are_distinct_and_begin_with_the_learning_rate() -> None:
    assert len(set(SHORT_NAMES.values())) == len(SHORT_NAMES)
    assert list(SHORT_NAMES.items())[:2] == [("learning_rate", "lr"), ("optimizer", "opt")]


@pytest.mark.parametrize("name", ["learning_rate", "weight_decay"])
def test_a_whole_number_that_is_no_float_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be .* at most 1e\\+18, got 10000"):
        TrialConfig(**{name: 10**400})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fc_dropout", 1),
        ("label_smoothing", 1),
        ("ema_decay", 0),
        ("ema_decay", 1),
        ("learning_rate", 0),
        ("clip_norm", 0),
        ("weight_decay", -1e-9),
        ("n_layers", 9),
    ],
)
def test_a_value_at_an_open_end_of_its_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"^{name} must be .*, got {value}$"):
        TrialConfig(**{name: value})


def test_the_product_of_the_largest_settings_is_a_number_of_fp32() -> None:
    assert TrialConfig(learning_rate=MAX_SETTING, embedding_lr_scale=MAX_SETTING).learning_rate == MAX_SETTING
    assert torch.finfo(torch.float32).max > MAX_SETTING**2
    with pytest.raises(ConfigError, match=r"learning_rate must be above 0 and at most 1e\+18, got 1e\+19"):
        TrialConfig(learning_rate=10 * MAX_SETTING)


def test_a_number_that_python_does_not_write_is_refused_like_any_other() -> None:
    with pytest.raises(ConfigError, match=r"hidden_dim must be .*, got a number of more than 4,300 digits"):
        TrialConfig(hidden_dim=10**5000)
