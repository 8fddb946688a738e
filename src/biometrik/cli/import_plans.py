"""What an import is made of: a folder of subjects, a CSV table or JSON lines, as plans of one encounter each.

A plan says what to read; nothing of it has been opened. What is broken becomes a :class:`Fault` in its place, so that
one bad line or name does not lose the others.
"""

import csv
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final, TypeAlias

from biometrik.errors import BiometrikError, InvalidInputError
from biometrik.types import FINGER_NAMES, Trait

#: Longest line, bytes: the bound of the service's messages.
MAX_LINE_BYTES: Final = 16 << 20
#: Most samples of a record that are looked at; an engine takes 64.
_MAX_PIECES: Final = 256
#: Endings of files that hold prints, and whose names need not say so.
_PRINT_ENDINGS: Final = (".wsq", ".fir", ".bir", ".cbeff", ".xml")
#: Between the parts of a CSV field that holds several.
_BETWEEN: Final = "|"
_DELIMITERS: Final = ",;\t"
_COLUMNS: Final = (
    "subject", "trait", "file", "ppi", "template", "galleries", "missing", "override", "consent", "transaction",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Piece:
    """A sample that a record names.

    Parameters
    ----------
    trait : Trait
        What it shows.
    file : str
        Its file, below the folder of the import; "" for a template.
    template : str
        A template's bytes, base64; "" for a file.
    ppi : float or None
        Resolution of a print, where it is said.
    """

    trait: Trait
    file: str = ""
    template: str = ""
    ppi: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """One encounter to be read.

    Parameters
    ----------
    name : str
        Where it stands: ``line 12``, or a folder's path below the import's.
    units : int
        How much of the import it is, for the progress.
    subject : str
        The caller's opaque id.
    pieces : tuple of Piece
        Its samples.
    galleries : tuple of str or None
        None where nothing is said.
    missing : tuple of str
        Fingers that cannot be had, as ``enroll --missing`` takes them.
    override, consent, transaction : str
        "" where nothing is said.
    """

    name: str
    units: int
    subject: str
    pieces: tuple[Piece, ...]
    galleries: tuple[str, ...] | None = None
    missing: tuple[str, ...] = ()
    override: str = ""
    consent: str = ""
    transaction: str = ""


@dataclass(frozen=True, slots=True)
class Terms:
    """A gallery that an export tells of."""

    name: str
    units: int
    gallery: str
    kind: str
    legal_basis: str
    retention_days: int


@dataclass(frozen=True, slots=True)
class Fault:
    """What stands in a record's place and is none."""

    name: str
    units: int
    error: BiometrikError
    subject: str = ""


Planned: TypeAlias = Plan | Terms | Fault


def planned(source: Path) -> tuple[int, Iterator[Planned]]:
    """Return how many units an import has, and its records.

    Parameters
    ----------
    source : Path
        A folder with a folder for each subject, a ``.csv``, or a ``.jsonl`` file.

    Raises
    ------
    InvalidInputError
        It is none of them, or cannot be read.
    """
    try:
        if source.is_dir():
            names = sorted(entry.name for entry in os.scandir(source) if not entry.name.startswith("."))
            return len(names), _of_folder(source, names)
        if source.suffix.lower() == ".csv":
            return max(0, _lines_in(source) - 1), _of_table(source)
        if source.suffix.lower() in (".jsonl", ".ndjson"):
            return _lines_in(source), _of_lines(source)
    except OSError as error:
        raise InvalidInputError(f"{source}: expected a folder or file that can be read, got {error.strerror}") from None
    raise InvalidInputError(f"{source}: expected a folder of subjects, a .csv or a .jsonl file")


# --- folders -----------------------------------------------------------------------------------------------------


def _of_folder(root: Path, names: Iterable[str]) -> Iterator[Planned]:
    for name in names:
        try:
            found = _encounters(root, name)
        except OSError as error:
            found = [_fault(name, f"expected a folder that can be read, got {error.strerror}")]
        for number, one in enumerate(found):
            yield replace(one, units=int(number == 0))


def _encounters(root: Path, subject: str) -> list[Plan | Fault]:
    # Files of a subject's folder are one encounter, those of each folder in it another.
    path = root / subject
    if path.is_symlink() or not path.is_dir():
        return [_fault(subject, "expected a folder with a subject's id for its name, got a file or link")]
    found: list[Plan | Fault] = []
    files: list[str] = []
    for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        below = f"{subject}/{entry.name}"
        if not entry.is_dir(follow_symlinks=False):
            files.append(below)  # a link among them is judged when it is read
            continue
        inner = sorted(os.scandir(entry.path), key=lambda entry: entry.name)
        if any(deeper.is_dir() for deeper in inner):
            found.append(_fault(below, "expected no folder in an encounter's, got one"))
            continue
        shown = [f"{below}/{file.name}" for file in inner if not file.name.startswith(".")]
        found.append(_of_files(below, subject, shown))
    if files or not found:
        found.insert(0, _of_files(subject, subject, files))
    return found


def _of_files(name: str, subject: str, files: Iterable[str]) -> Plan | Fault:
    pieces = tuple(Piece(trait_of_file(file.rpartition("/")[2]), file) for file in files)
    if not pieces:
        return _fault(name, "expected images, got none")
    if len(pieces) > _MAX_PIECES:
        return _fault(name, f"expected at most {_MAX_PIECES} samples, got {len(pieces)}")
    return Plan(name, 1, subject, pieces)


def trait_of_file(name: str) -> Trait:
    """Return what a file shows, by its name: a finger's name, perhaps with a number after it, else a face.

    Examples
    --------
    >>> [trait_of_file(name).name for name in ("right_index.png", "Left-Thumb 2.bmp", "finger.png", "front.jpg")]
    ['right_index', 'left_thumb', 'finger', 'face']
    """
    file = PurePosixPath(name.lower())
    word = file.stem.replace("-", "_").replace(" ", "_").rstrip("_0123456789")
    if word in FINGER_NAMES:
        return Trait.named(word)
    return Trait.named("finger" if file.suffix in _PRINT_ENDINGS else "face")


# --- JSON lines --------------------------------------------------------------------------------------------------


def _of_lines(source: Path) -> Iterator[Planned]:
    for name, line in _lines(source):
        if isinstance(line, Fault):
            yield line
            continue
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise InvalidInputError("expected a JSON object")
            yield _terms(name, row) if "gallery" in row else _plan(name, row)
        except InvalidInputError as error:
            yield _fault(name, str(error))
        except (ValueError, RecursionError):
            yield _fault(name, "expected a JSON object, got text that is none")


def _plan(name: str, row: Mapping[str, Any]) -> Plan:
    samples = row.get("samples")
    flat = {key: row[key] for key in ("trait", "file", "ppi", "template") if key in row}
    if (samples is None) == (not flat):
        raise InvalidInputError("samples: expected a list, or the fields of one sample, and not both")
    if samples is None:
        samples = [flat]
    if not isinstance(samples, list) or not 1 <= len(samples) <= _MAX_PIECES:
        raise InvalidInputError(f"samples: expected a list of 1..{_MAX_PIECES}")
    return Plan(
        name,
        1,
        _word(row, "subject"),
        tuple(map(_piece, samples)),
        galleries=tuple(_words(row, "galleries")) if row.get("galleries") is not None else None,
        missing=tuple(_words(row, "missing")) if row.get("missing") is not None else (),
        override=_word(row, "override"),
        consent=_word(row, "consent"),
        transaction=_word(row, "transaction"),
    )


def _piece(row: object) -> Piece:
    if not isinstance(row, dict):
        raise InvalidInputError("sample: expected a JSON object")
    file, template, ppi = _word(row, "file"), _word(row, "template"), row.get("ppi")
    if bool(file) == bool(template):
        raise InvalidInputError("sample: expected a file or a template")
    if ppi is not None and (isinstance(ppi, bool) or not isinstance(ppi, int | float)):
        raise InvalidInputError("ppi: expected a number")
    named = _word(row, "trait")
    if template:
        return Piece(Trait.named(named or "face"), template=template)
    trait = Trait.named(named) if named else trait_of_file(file.replace("\\", "/").rpartition("/")[2])
    return Piece(trait, file, ppi=None if ppi is None else _number(ppi))


def _terms(name: str, row: Mapping[str, Any]) -> Terms:
    terms = row["gallery"]
    if not isinstance(terms, dict):
        raise InvalidInputError("gallery: expected a JSON object")
    days = terms.get("retention_days", 0)
    if isinstance(days, bool) or not isinstance(days, int):
        raise InvalidInputError("retention_days: expected a whole number")
    return Terms(name, 1, _word(terms, "name"), _word(terms, "kind"), _word(terms, "legal_basis"), days)


def _word(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name, "")
    if not isinstance(value, str):
        raise InvalidInputError(f"{name}: expected a string")
    return value


def _words(row: Mapping[str, Any], name: str) -> list[str]:
    value = row[name]
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise InvalidInputError(f"{name}: expected a list of strings")
    return value


def _number(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        raise InvalidInputError("ppi: expected a number of pixels an inch") from None


# --- tables ------------------------------------------------------------------------------------------------------


def _of_table(source: Path) -> Iterator[Planned]:
    # Rows that follow each other and agree in everything but the sample are one encounter, named by its first line. A
    # row that says whose it is and is broken takes that encounter with it: half of one is not what was asked for.
    lines = _lines(source)
    _, first = next(lines, ("", None))
    if not isinstance(first, str):
        raise InvalidInputError(f"{source}: expected a first line with the names of columns, got none")
    delimiter = max(_DELIMITERS, key=first.count)
    columns = [word.strip().lower() for word in _row(first.removeprefix("\ufeff"), delimiter)]
    if "subject" not in columns or len(set(columns)) < len(columns) or not {*columns} <= {*_COLUMNS}:
        raise InvalidInputError(
            f"{source}: expected columns subject and any of {', '.join(_COLUMNS[1:])}, each once, got"
            f" {', '.join(columns)[:200]!a}"
        )
    waiting: Plan | Fault | None = None
    for name, line in lines:
        one = line if isinstance(line, Fault) else _of_row(name, line, columns, delimiter)
        joined = None if waiting is None else _joined(waiting, one)
        if waiting is not None and joined is None:
            yield waiting
        waiting = joined or one
    if waiting is not None:
        yield waiting


def _of_row(name: str, line: str, columns: list[str], delimiter: str) -> Plan | Fault:
    try:
        values = _row(line, delimiter)
        if len(values) != len(columns):
            raise InvalidInputError(f"expected {len(columns)} fields, got {len(values)}")
    except InvalidInputError as error:
        return _fault(name, str(error))
    row: dict[str, Any] = {column: value for column, value in zip(columns, values, strict=True) if value}
    for several in ("galleries", "missing"):
        if several in row:
            row[several] = row[several].split(_BETWEEN)
    try:
        if "ppi" in row:
            row["ppi"] = float(row["ppi"])
        return _plan(name, row)
    except ValueError as error:
        said = str(error) if isinstance(error, InvalidInputError) else "ppi: expected a number"
        return replace(_fault(name, said), subject=row.get("subject", ""))


def _joined(first: Plan | Fault, second: Plan | Fault) -> Plan | Fault | None:
    # One encounter of two rows; None where they are of two.
    units = first.units + second.units
    if isinstance(first, Plan) and isinstance(second, Plan):
        said = replace(second, name=first.name, units=first.units, pieces=first.pieces)
        if said != first:
            return None
        if len(first.pieces) == _MAX_PIECES:
            return replace(
                _fault(first.name, f"expected at most {_MAX_PIECES} samples"), units=units, subject=first.subject
            )
        return replace(first, units=units, pieces=first.pieces + second.pieces)
    if not first.subject or first.subject != second.subject:
        return None
    broken = first if isinstance(first, Fault) else second
    return replace(broken, units=units)


def _row(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True), [])
    except csv.Error:
        raise InvalidInputError("expected fields of a CSV row, each on this line, got text that is none") from None


# --- lines -------------------------------------------------------------------------------------------------------


def _lines_in(source: Path) -> int:
    count, last = 0, b"\n"
    with source.open("rb") as file:
        while piece := file.read(1 << 20):
            count, last = count + piece.count(b"\n"), piece[-1:]
    return count + (last != b"\n")


def _lines(source: Path) -> Iterator[tuple[str, "str | Fault"]]:
    # Lines that are not empty, with their names; of one that is too long or no text, a fault.
    with source.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            name = f"line {number}"
            if len(line) > MAX_LINE_BYTES:
                while line and not line.endswith(b"\n"):
                    line = file.readline(MAX_LINE_BYTES)
                yield name, _fault(name, f"expected at most {MAX_LINE_BYTES} bytes")
                continue
            try:
                text = line.decode("utf-8").strip("\r\n")
            except UnicodeDecodeError:
                yield name, _fault(name, "expected UTF-8 text")
                continue
            if text.strip():
                yield name, text


def _fault(name: str, what: str) -> Fault:
    return Fault(name, 1, InvalidInputError(f"record: {what.removeprefix('record: ')}"))
