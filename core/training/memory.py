"""Arrays as tensors without a copy, also where the array's memory is read-only."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, from_numpy


class _Writable:
    """An array's memory without its read-only mark, through numpy's array interface."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array  # keeps the memory alive
        self.__array_interface__ = {**array.__array_interface__, "data": (array.ctypes.data, False)}


def as_tensor(array: NDArray[np.float32], *, copy: bool) -> Tensor:
    """The array as a tensor.

    Without a copy many processes share one memory-mapped matrix. torch has no read-only tensors and warns of such
    arrays, so the mark is hidden from it: the caller must not write, and where the memory is mapped read-only the
    kernel ends a process that does.
    """
    return from_numpy(np.array(array) if copy else np.asarray(_Writable(array)))
