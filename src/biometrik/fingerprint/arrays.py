"""One door to compiled kernels: every caller's array arrives in the same memory layout."""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError

_Scalar = TypeVar("_Scalar", bound=np.generic)


def kernel_input(name: str, array: NDArray[Any], dtype: type[_Scalar], *, ndim: int = 2) -> NDArray[_Scalar]:
    """Return a C-contiguous read-only view, so that writable, frozen and strided arrays reach one compiled kernel.

    Parameters
    ----------
    name : str
        What the array is, for the message.
    array : ndarray
        Copied only where it is not C-contiguous.
    dtype : type
        That it must have.
    ndim : int
        Dimensions that it must have.

    Raises
    ------
    InvalidInputError
        Another dtype or rank, or an array without elements.

    Examples
    --------
    >>> kernel_input("print", np.zeros((4, 6), np.uint8).T, np.uint8).flags.c_contiguous
    True
    """
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != ndim or array.size == 0:
        found = f"{array.shape} {array.dtype}" if isinstance(array, np.ndarray) else type(array).__name__
        raise InvalidInputError(f"{name}: expected a non-empty {ndim}-D {np.dtype(dtype)} array, got {found}")
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view
