"""Photographs and prints from files, with a progress bar when there are many."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

from rich.console import Console
from rich.progress import track
from typer import BadParameter, Option

from biometrik.cli.options import MAX_SAMPLES
from biometrik.errors import ImageError, InvalidInputError, ResolutionMissingError

if TYPE_CHECKING:
    from biometrik.fingers import FingerPosition
    from biometrik.samples import Sample
    from biometrik.types import MissingSample

T = TypeVar("T")

#: From so many on, reading takes long enough to be shown.
_MANY = 5
_FINGERS = "Fingers"


@dataclass(frozen=True, slots=True)
class Prints:
    """Prints that are presented beside photographs, or alone."""

    finger: Annotated[
        list[str] | None,
        Option(
            "--finger",
            metavar="FINGER=FILE",
            help="A print: right_index=print.png, left_thumb=…; finger=… where it is not known which. PNG, BMP, TIFF, "
            "JPEG, JPEG 2000 or WSQ. Again for more.",
            rich_help_panel=_FINGERS,
        ),
    ] = None
    ppi: Annotated[
        float | None,
        Option(
            "--ppi",
            metavar="N",
            help="Resolution of the prints, pixels an inch, where the files do not state it: 500 for most scanners.",
            rich_help_panel=_FINGERS,
        ),
    ] = None


def read(photos: Sequence[Path] | None, prints: Prints, *, quiet: bool) -> tuple[list["Sample"], list[Path]]:
    """Return the samples of one person, photographs first, and their files.

    Parameters
    ----------
    photos : sequence of Path or None
        Photographs.
    prints : Prints
        Prints of fingers.
    quiet : bool
        No progress bar, and no word on files that are not images.

    Returns
    -------
    samples, files : list of Sample, list of Path
        A file that is not an image becomes an outcome of its own, so that it does not lose the good ones beside it.

    Raises
    ------
    InvalidInputError
        A file cannot be opened, a print's resolution is not known, there are too many, or none.
    BadParameter
        A print is not named as FINGER=FILE.
    """
    rows = named(photos, prints)
    if len(rows) > MAX_SAMPLES:
        raise InvalidInputError(f"samples: expected at most {MAX_SAMPLES} of one person, got {len(rows)}")
    read = [
        read_leniently(file, position, prints.ppi, quiet=quiet)
        for position, file in shown(rows, "reading samples", quiet=quiet)
    ]
    return read, [file for _, file in rows]


def named(photos: Sequence[Path] | None, prints: Prints) -> "list[tuple[FingerPosition | None, Path]]":
    """Return the files that a command names, photographs (without a position) first.

    Raises
    ------
    InvalidInputError
        There are none.
    BadParameter
        A print is not named as FINGER=FILE.
    """
    rows = [*((None, photo) for photo in photos or ()), *map(_named, prints.finger or ())]
    if not rows:
        raise InvalidInputError(
            "samples: expected photographs, or prints with --finger right_index=print.png, got none"
        )
    return rows


def read_leniently(path: Path, position: "FingerPosition | None", ppi: float | None, *, quiet: bool) -> "Sample":
    """Return one photograph, or the print of a finger, or what takes its place; see :func:`read`."""
    from biometrik.imaging import read_file
    from biometrik.samples import UnreadableSample, decoded, decoded_print

    data = read_file(path)
    if position is None:
        sample = decoded(data)
    else:
        try:
            sample = decoded_print(data, ppi=ppi, position=position)
        except ResolutionMissingError as error:
            raise ResolutionMissingError(f"{path}: {error} with --ppi") from None
    if isinstance(sample, UnreadableSample) and not quiet:
        Console(stderr=True).print(f"{path}: {sample.detail.removeprefix('image: ')}", markup=False, soft_wrap=True)
    return sample


def read_strictly(path: Path, *, finger: bool, ppi: float | None) -> "Sample":
    """Return one photograph, or a print of a finger that is not known.

    Raises
    ------
    ImageError
        The file is not an image that the library accepts; the message names it and says why.
    InvalidInputError
        It cannot be opened, or a print's resolution is not known.
    """
    from biometrik.finger_imaging import read_print
    from biometrik.types import FaceImage

    try:
        return read_print(path, ppi=ppi) if finger else FaceImage.from_file(path)
    except ImageError as error:
        raise type(error)(f"{path}: {str(error).removeprefix('image: ')}") from error
    except ResolutionMissingError as error:
        raise ResolutionMissingError(f"{path}: {error} with --ppi") from None


def missing(rows: Sequence[str] | None) -> list["MissingSample"]:
    """Return fingers that cannot be had, from FINGER=REASON or FINGER=REASON:permanent.

    Raises
    ------
    BadParameter
        A finger or a reason that is none.
    """
    from biometrik.types import MissingReason, MissingSample

    found = []
    for text in rows or ():
        name, _, said = text.partition("=")
        reason, _, duration = said.partition(":")
        known = [member.value.lower() for member in MissingReason]
        if reason not in known or duration not in ("", "permanent"):
            raise BadParameter(
                f"expected FINGER=REASON or FINGER=REASON:permanent with one of {', '.join(known)}, got {text}",
                param_hint="--missing",
            )
        position = _position(name, "--missing")
        if not position:
            raise BadParameter("expected a finger that is known, e.g. right_index", param_hint="--missing")
        found.append(MissingSample(position, MissingReason(reason.upper()), bool(duration)))
    return found


def shown(rows: Sequence[T], what: str, *, quiet: bool) -> Iterable[T]:
    """Return the rows, with a progress bar on a terminal's standard error while they are gone through."""
    if quiet or len(rows) < _MANY:
        return rows
    return _tracked(rows, what)


def _tracked(rows: Sequence[T], what: str) -> Iterator[T]:
    yield from track(rows, description=what, console=Console(stderr=True), transient=True)


def _named(text: str) -> tuple["FingerPosition", Path]:
    name, separator, file = text.partition("=")
    if not separator or not file:
        raise BadParameter(f"expected FINGER=FILE, e.g. right_index=print.png, got {text}", param_hint="--finger")
    return _position(name, "--finger"), Path(file)


def _position(name: str, option: str) -> "FingerPosition":
    from biometrik.fingers import FingerPosition
    from biometrik.types import FINGER_NAMES

    if name not in FINGER_NAMES:
        raise BadParameter(f"expected one of {', '.join(FINGER_NAMES)}, got {name}", param_hint=option)
    return FingerPosition(FINGER_NAMES.index(name))
