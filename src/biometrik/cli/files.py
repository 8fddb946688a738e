"""Files that a command leaves behind: whole or not at all, and their owner's alone, for they hold biometric data."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from biometrik.errors import InvalidInputError


def refuse_to_replace(path: Path, *, force: bool) -> None:
    """Raise InvalidInputError where a file is there that must not be replaced, or where none could be.

    Parameters
    ----------
    path : Path
        Where the file is to go.
    force : bool
        Whether a file that is there may be replaced.
    """
    if not path.parent.is_dir():
        raise InvalidInputError(f"{path}: expected a folder that is there, got {path.parent}; make it")
    if path.exists() and not (force and path.is_file()):
        raise InvalidInputError(f"{path}: expected no such file yet, got one; name another, or replace it with --force")


def write(path: Path, data: bytes, *, force: bool) -> None:
    """Write a file as :func:`writing` does, all at once."""
    with writing(path, force=force) as file:
        file.write(data)


@contextmanager
def writing(path: Path, *, force: bool) -> Iterator[IO[bytes]]:
    """Give a file to write, mode 0600, whose name never holds half of it, also after a power cut or an error.

    Parameters
    ----------
    path : Path
        Where it is to be when all is written.
    force : bool
        Whether a file that is there may be replaced.

    Raises
    ------
    InvalidInputError
        A file is there and may not be replaced, or it cannot be written.
    """
    refuse_to_replace(path, force=force)
    try:
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            part = Path(file.name)
            try:
                yield file
                file.flush()
                os.fsync(file.fileno())
                refuse_to_replace(path, force=force)
                part.replace(path)
            except BaseException:
                part.unlink(missing_ok=True)
                raise
    except OSError as error:
        reason = error.strerror or error
        raise InvalidInputError(f"{path}: expected a place that can be written, got {reason}") from None
