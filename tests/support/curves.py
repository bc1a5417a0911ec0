"""Recorded curves that several tests replay."""

from functools import cache

from benchmarks.simulation.curves import Curve, Table
from tests.support.epochs import epoch
from tuning.scheduling.samplers import random_params
from tuning.space.load import load_space

SPACE = load_space("notebook", ["hidden_dim=int(16,64,log)"])
EPOCHS = 6


def accuracy(dropout: float, epoch: int) -> float:
    """Better with less output dropout; all rise alike."""
    return 0.5 + 0.3 * (0.6 - dropout) + 0.02 * epoch


@cache
def table(count: int = 60) -> Table:
    """Curves whose order is the same at each epoch; an epoch takes 1, 2 or 3 s."""
    curves = []
    for number, params in enumerate(random_params(SPACE, 0, count)):
        config = SPACE.to_config(params, epochs=EPOCHS)
        epochs = tuple(
            epoch(at, accuracy(config.fc_dropout, at), seconds=1.0 + number % 3) for at in range(1, EPOCHS + 1)
        )
        curves.append(Curve(config=config.to_dict(), params=params, epochs=epochs))
    return Table(space=SPACE, epochs=EPOCHS, curves=tuple(curves))
