"""Photographs from files, with a progress bar when there are many."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import track

from biometrik.cli.options import MAX_PHOTOGRAPHS
from biometrik.errors import ImageError, InvalidInputError

if TYPE_CHECKING:
    from biometrik.samples import Sample
    from biometrik.types import FaceImage

#: From so many on, reading takes long enough to be shown.
_MANY = 5


def read(paths: Sequence[Path], *, quiet: bool) -> list["Sample"]:
    """Return the photographs of one person.

    Parameters
    ----------
    paths : sequence of Path
        1 to 64.
    quiet : bool
        No progress bar, and no word on files that are not images.

    Returns
    -------
    list of Sample
        A file that is not an image becomes an outcome of its own, so that it does not lose the good ones beside it.

    Raises
    ------
    InvalidInputError
        A file cannot be opened, or there are too many.
    """
    if len(paths) > MAX_PHOTOGRAPHS:
        raise InvalidInputError(f"photographs: expected at most {MAX_PHOTOGRAPHS} of one person, got {len(paths)}")
    return [read_leniently(path, quiet=quiet) for path in shown(paths, "reading photographs", quiet=quiet)]


def read_leniently(path: Path, *, quiet: bool) -> "Sample":
    """Return one photograph, or what takes its place; see :func:`read`."""
    from biometrik.imaging import read_file
    from biometrik.samples import UnreadableSample, decoded

    sample = decoded(read_file(path))
    if isinstance(sample, UnreadableSample) and not quiet:
        Console(stderr=True).print(f"{path}: {sample.detail.removeprefix('image: ')}", markup=False, soft_wrap=True)
    return sample


def read_strictly(path: Path) -> "FaceImage":
    """Return one photograph.

    Raises
    ------
    ImageError
        The file is not an image that the library accepts; the message names it and says why.
    InvalidInputError
        It cannot be opened.
    """
    from biometrik.types import FaceImage

    try:
        return FaceImage.from_file(path)
    except ImageError as error:
        raise type(error)(f"{path}: {str(error).removeprefix('image: ')}") from error


def shown(paths: Sequence[Path], what: str, *, quiet: bool) -> Iterable[Path]:
    """Return the paths, with a progress bar on a terminal's standard error while they are gone through."""
    if quiet or len(paths) < _MANY:
        return paths
    return _tracked(paths, what)


def _tracked(paths: Sequence[Path], what: str) -> Iterator[Path]:
    yield from track(paths, description=what, console=Console(stderr=True), transient=True)
