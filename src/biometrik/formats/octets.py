"""Octets, one field after the other: the bounds-checked reader under every binary codec.

A reader never allocates what a length field asks for: it slices the octets that are there. What breaks a rule but can
be read on goes through :meth:`OctetReader.fault`, so that strictness is decided in one place; what a reader has seen
can be kept as a table of :class:`Field`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

from biometrik.errors import InvalidInputError, RecordFormatError

#: Longest minutiae record, octets: 176 views of 255 minutiae (1.5 kB each) and their extended data fit.
MAX_RECORD_BYTES: Final = 1 << 20
#: Most notes of one record; a record that needs more is noise, and the list must not outgrow the record.
MAX_NOTES: Final = 64
#: Most views of one record, and most blocks of one kind in a view: values are larger than the octets they are read
#: from, so that their number has a bound of its own. Standards allow more; nobody writes more.
MAX_VIEWS: Final = 255
MAX_BLOCKS: Final = 16
#: Most fields of a trace.
MAX_FIELDS: Final = 1536


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record as it was found.

    Parameters
    ----------
    offset, length : int
        Octets from the record's start, and how many.
    name : str
        What the standard calls it, with the view or minutia that it belongs to.
    value : str
        For people to read: number, meaning, unit; opaque data by their length.
    """

    offset: int
    length: int
    name: str
    value: str


class OctetReader:
    """Reads a record, or a part of one, from left to right.

    Parameters
    ----------
    data : bytes
        The whole record.
    strict : bool
        Whether a fault ends the reading.
    trace : list of Field, optional
        Receives every field that is read.
    max_bytes : int
        Longest record.

    Raises
    ------
    InvalidInputError
        ``data`` are not bytes.
    RecordFormatError
        The record is longer than ``max_bytes``.

    Examples
    --------
    >>> reader = OctetReader(bytes([1, 0, 197]))
    >>> reader.number("views", 1), reader.number("resolution", 2), reader.remaining
    (1, 197, 0)
    """

    __slots__ = ("_data", "notes", "offset", "stop", "strict", "trace")

    def __init__(
        self,
        data: bytes,
        *,
        strict: bool = True,
        trace: list[Field] | None = None,
        max_bytes: int = MAX_RECORD_BYTES,
    ) -> None:
        if not isinstance(data, bytes):
            raise InvalidInputError(f"record: expected bytes, got {type(data).__name__}")
        if len(data) > max_bytes:
            raise RecordFormatError(f"record: expected at most {max_bytes} octets, got {len(data)}")
        self._data = data
        self.offset = 0
        self.stop = len(data)
        self.strict = strict
        self.trace = trace
        self.notes: list[str] = []

    @property
    def remaining(self) -> int:
        """Octets that were not read yet."""
        return self.stop - self.offset

    def octets(self, name: str, length: int, *, shown: bool = True) -> bytes:
        """Return the next octets as they are.

        Parameters
        ----------
        name : str
            For messages and the trace.
        length : int
            How many.
        shown : bool
            Whether they are a field of the trace; without, the caller shows what stands in them.

        Raises
        ------
        RecordFormatError
            The record, or this part of it, ends before.
        """
        octets = self._take(name, length)
        if shown:
            self.see(self.offset - length, length, name, f"{length} octets")
        return octets

    def number(self, name: str, length: int, says: Callable[[int], str] = str) -> int:
        """Return the next octets as an unsigned big-endian number.

        Parameters
        ----------
        name : str
            For messages and the trace.
        length : int
            1 to 8 octets.
        says : callable
            Words for the trace.

        Raises
        ------
        RecordFormatError
            The record, or this part of it, ends before.
        """
        value = int.from_bytes(self._take(name, length), "big")
        if self.trace is not None:
            self.see(self.offset - length, length, name, says(value))
        return value

    def count(self, name: str, length: int, most: int) -> int:
        """Return the next octets as a number of things that follow.

        Raises
        ------
        RecordFormatError
            The record ends before, or there are more than ``most``.
        """
        value = self.number(name, length)
        if value > most:
            raise RecordFormatError(f"{name}: expected at most {most}, got {value}")
        return value

    def see(self, offset: int, length: int, name: str, value: str) -> None:
        """Keep a field for the trace, if there is one and it has room; see :data:`MAX_FIELDS`."""
        if self.trace is not None and len(self.trace) < MAX_FIELDS:
            self.trace.append(Field(offset, length, name, value))

    def peek(self, length: int, ahead: int = 0) -> bytes:
        """Return up to ``length`` octets without reading them, fewer at the end."""
        start = self.offset + ahead
        return self._data[start : min(start + length, self.stop)]

    def part(self, name: str, length: int) -> Self:
        """Return a reader of the next ``length`` octets, which shares notes and trace; this one goes on behind them.

        Raises
        ------
        RecordFormatError
            The record, or this part of it, ends before.
        """
        self._check(name, length)
        part = type(self).__new__(type(self))
        part._data, part.strict, part.trace, part.notes = self._data, self.strict, self.trace, self.notes
        part.offset, part.stop = self.offset, self.offset + length
        self.offset += length
        return part

    def fault(self, message: str) -> None:
        """End the reading if it is strict, else note that a rule was broken and how that was repaired.

        Raises
        ------
        RecordFormatError
            The reader is strict.
        """
        if self.strict:
            raise RecordFormatError(message)
        self.note(message)

    def note(self, message: str) -> None:
        """Keep a remark for the caller; at most :data:`MAX_NOTES` of a record."""
        if len(self.notes) < MAX_NOTES:
            self.notes.append(message)

    def end(self, name: str) -> None:
        """Expect that nothing is left.

        Raises
        ------
        RecordFormatError
            Something is left and the reader is strict.
        """
        if self.remaining:
            self.fault(f"{name}: expected to end at octet {self.offset}, got {self.remaining} more, which are ignored")

    def _take(self, name: str, length: int) -> bytes:
        self._check(name, length)
        self.offset += length
        return self._data[self.offset - length : self.offset]

    def _check(self, name: str, length: int) -> None:
        if length > self.remaining:
            raise RecordFormatError(
                f"{name}: expected {length} octets at offset {self.offset}, got {self.remaining}; the record is cut off"
            )


def check_range(name: str, value: int, low: int, high: int) -> None:
    """Check a number that is to be written.

    Raises
    ------
    InvalidInputError
        It is not in ``low..high``.
    """
    if not low <= value <= high:
        raise InvalidInputError(f"{name}: expected {low}..{high}, got {value}")
