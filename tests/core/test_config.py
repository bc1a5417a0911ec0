"""Facts about settings that other modules read from TrialConfig's fields."""

from core.config import COST_ORDER, OPTIMIZERS, POOLINGS, SHORT_NAMES
from core.nn.model_size import OPTIMIZER_STATE_TENSORS


def test_the_cost_order_has_every_choice() -> None:
    assert set(COST_ORDER["pooling"]) == set(POOLINGS)
    assert set(COST_ORDER["optimizer"]) == set(OPTIMIZERS) == OPTIMIZER_STATE_TENSORS.keys()
    assert COST_ORDER["bidirectional"] == (True, False)


def test_short_names_are_distinct_and_begin_with_the_learning_rate() -> None:
    assert len(set(SHORT_NAMES.values())) == len(SHORT_NAMES)
    assert list(SHORT_NAMES.items())[:2] == [("learning_rate", "lr"), ("optimizer", "opt")]
