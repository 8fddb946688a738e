"""How the kernels of this package are compiled: without allocation, and again whenever any of its files changes."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])

#: Of all files of the package: what a cached kernel was compiled from.
_SOURCES: Final = hashlib.blake2b(
    b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))), digest_size=16
).hexdigest()


def kernel(function: F) -> F:
    """Compile a function on first use, without the interpreter lock.

    Without numba's run-time too, so that it cannot allocate, and does not count references to arrays: every slice would
    cost an atomic increment and decrement, a twentieth of the time.
    """
    compile_: Any = njit
    return cast(F, compile_(nogil=True, error_model="numpy", _nrt=False)(function))


def entrance(function: F) -> F:
    """Compile a kernel that Python calls, and keep it on disk.

    numba compiles again when the file of the function has changed; what it calls is in other files, so that their
    content belongs to the stamp.
    """
    compile_: Any = njit
    compiled = compile_(cache=True, nogil=True, error_model="numpy", _nrt=False)(function)
    file = compiled._cache._cache_file
    file._source_stamp = (file._source_stamp, _SOURCES)
    return cast(F, compiled)
