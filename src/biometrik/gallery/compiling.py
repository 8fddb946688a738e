"""How the gallery's kernels are compiled."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile a private kernel, which trusts its input; without numba's run-time: it cannot allocate."""
    compile_: Any = njit
    return cast(F, compile_(cache=True, nogil=True, error_model="numpy", _nrt=False)(function))
