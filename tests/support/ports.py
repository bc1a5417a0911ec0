"""A port for a program that is given its number."""

import contextlib
import socket
from collections.abc import Iterator


@contextlib.contextmanager
def held_port() -> Iterator[int]:
    """Yield a free port that no other program is given in the block.

    A socket is bound to it and does not listen. Linux lets a server bind it as well, because both allow the reuse.
    """
    with socket.socket() as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]
