"""How the gallery's kernels are compiled."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile a private kernel, which trusts its input; without numba's run-time: it cannot allocate."""
    return _compiled(function, nogil=True)


def brief_kernel(function: F) -> F:
    """Compile as :func:`kernel`, for what takes less time than another thread to take the interpreter over."""
    return _compiled(function, nogil=False)


def _compiled(function: F, *, nogil: bool) -> F:
    compile_: Any = njit
    return cast(F, compile_(cache=True, nogil=nogil, error_model="numpy", _nrt=False)(function))
