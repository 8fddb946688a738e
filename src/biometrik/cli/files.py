"""Files that a command leaves behind: whole or not at all."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from biometrik.errors import InvalidInputError


def write(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write a file so that its name never holds half of it.

    Parameters
    ----------
    path : Path
        Replaced where it exists.
    data : bytes
        All of it.
    private : bool
        Readable by its owner alone: for biometric data.

    Raises
    ------
    InvalidInputError
        The folder is not there or cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if not private:
                mask = os.umask(0)
                os.umask(mask)
                Path(name).chmod(0o666 & ~mask)
            Path(name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise InvalidInputError(
            f"{path}: cannot be written ({error.strerror}); name a file in another folder"
        ) from None
