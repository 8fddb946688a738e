"""Captured images as files: all of it or nothing, and for the owner's eyes only."""

import os
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

from biometrik.errors import InvalidInputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def check(path: Path, *, force: bool) -> None:
    """Refuse a file that could not be written, before somebody is asked for a finger.

    Parameters
    ----------
    path : Path
        Of a PNG file.
    force : bool
        Whether a file that is there may be replaced.

    Raises
    ------
    InvalidInputError
        Not a ``.png``, no such folder, or the file is there.
    """
    if path.suffix.lower() != ".png":
        raise InvalidInputError(f"{path}: expected a name that ends in .png, which loses nothing, got another")
    if not path.parent.is_dir():
        raise InvalidInputError(f"{path}: expected a folder that is there, got {path.parent}; make it")
    if path.exists() and not (force and path.is_file()):
        raise InvalidInputError(f"{path}: expected a new file, got one that is there; name another, or add --force")


def write(path: Path, pixels: "NDArray[np.uint8]", *, ppi: float | None) -> None:
    """Write a PNG file, readable by its owner; after a power cut it is whole or not there.

    Parameters
    ----------
    path : Path
        Replaced where it is there.
    pixels : (H, W) or (H, W, 3) uint8
        Gray or RGB.
    ppi : float or None
        Stated in the file.

    Raises
    ------
    InvalidInputError
        It cannot be written there.
    """
    from PIL import Image

    resolution = {} if ppi is None else {"dpi": (ppi, ppi)}
    try:
        with NamedTemporaryFile(dir=path.parent, prefix=".biometrik-", suffix=".part", delete=False) as file:
            try:
                Image.fromarray(pixels).save(file, "PNG", **resolution)
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise InvalidInputError(f"{path}: expected a place that can be written, got {error.strerror}") from error
