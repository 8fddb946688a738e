"""Whose each encounter is, in arrays: some fifty bytes an encounter, where Python objects would take five hundred.

An encounter has a number. Arrays by number say of which kind it is (galleries, and what it shows), which encounter of
its subject comes next (the last is followed by the first), and where its texts are. Texts, the ids of subject and
encounter, lie one behind the other in one ``bytes`` for a page of numbers; a removal takes them out. Subjects are found
through a hash table (:mod:`biometrik.gallery.subject_table`): each subject has one of its encounters in it.
"""

import mmap
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from biometrik.errors import InvalidInputError
from biometrik.gallery.compiling import kernel
from biometrik.gallery.subject_table import Seat, SubjectTable

#: Numbers whose texts lie together: some 30 KB, which an addition or removal copies.
PAGE: Final = 1024
#: Numbers are kept as uint32, in the hash table plus one.
MAX_NUMBER: Final = 2**32 - 2
_LEAST_ROOM: Final = 1000
#: Numbers up to which arrays grow by being copied, some 2 ms; from then on they are as long as they can ever be.
_MOST_COPIED: Final = 128_000
#: Linux' MAP_NORESERVE, which Python names from 3.13 on.
_NO_RESERVE: Final = 0x4000
_HASH: Final = (1 << 32) - 1
#: Before a text: how it is written. Ids that stores and callers make are mostly UUIDs, 16 bytes; other texts come as
#: UTF-8 behind their length, one byte, or behind _LONG two.
_HEX: Final = 255
_UUID: Final = 254
_LONG: Final = 253
_DASHES: Final = (8, 13, 18, 23)  # where a UUID has them
_HEX_DIGITS: Final = frozenset("0123456789abcdef")


def packed(text: str) -> bytes:
    """Return a text of at most 65,535 bytes with its length, such that equal texts are equal bytes.

    Examples
    --------
    >>> len(packed("A-0192")), len(packed("0123456789abcdef0123456789abcdef"))
    (7, 17)
    """
    if len(text) == 32 and _HEX_DIGITS.issuperset(text):
        return bytes((_HEX,)) + bytes.fromhex(text)
    if len(text) == 36 and all(text[at] == "-" for at in _DASHES):
        digits = text[:8] + text[9:13] + text[14:18] + text[19:23] + text[24:]
        if len(digits) == 32 and _HEX_DIGITS.issuperset(digits):
            return bytes((_UUID,)) + bytes.fromhex(digits)
    data = text.encode()
    if len(data) < _LONG:
        return bytes((len(data),)) + data
    return bytes((_LONG,)) + len(data).to_bytes(2, "little") + data


def unpacked(data: bytes, at: int) -> tuple[str, int]:
    """Return the text packed at a place, and where it ends; raises IndexError or ValueError for what is none."""
    kind = data[at]
    if kind in (_HEX, _UUID):
        digits = data[at + 1 : at + 17].hex()
        if len(digits) != 32:
            raise IndexError("text: ends early")
        if kind == _UUID:
            digits = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
        return digits, at + 17
    start, length = at + 1, kind
    if kind == _LONG:
        start, length = at + 3, int.from_bytes(data[at + 1 : at + 3], "little")
    if start + length > len(data):
        raise IndexError("text: ends early")
    return data[start : start + length].decode(), start + length


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """The encounters with numbers in one page.

    Parameters
    ----------
    numbers : (M,) int64
        Rising.
    kinds, at : (M,) uint32
        Their kinds, and where their texts begin.
    texts : bytes
        Subject's and encounter's id of each, packed.
    """

    numbers: NDArray[np.int64]
    kinds: NDArray[np.uint32]
    at: NDArray[np.uint32]
    texts: bytes

    def without(self, numbers: NDArray[np.int64]) -> "Page":
        """Return the page without some encounters, and without their texts."""
        kept = ~np.isin(self.numbers, numbers)
        texts = [self.texts[start : ends(self.texts, start)[1]] for start in self.at[kept].tolist()]
        at = np.cumsum([0, *map(len, texts)], dtype=np.uint32)[:-1]
        return Page(self.numbers[kept], self.kinds[kept], at, b"".join(texts))


def ends(texts: bytes, at: int) -> tuple[int, int]:
    """Return where the two texts that begin at a place end; raises IndexError where they are cut off."""
    for _ in range(2):
        middle, kind = at, texts[at]
        if kind < _LONG:
            at += 1 + kind
        elif kind == _LONG:
            at += 3 + int.from_bytes(texts[at + 1 : at + 3], "little")
        else:
            at += 17
    if at > len(texts):
        raise IndexError("texts: end early")
    return middle, at


class Roster:
    """Subject, encounter and kind by number; not thread-safe, its owner holds a lock.

    Examples
    --------
    >>> roster = Roster()
    >>> roster.add(7, "A-0192", "e1", 1)
    >>> roster.add(9, "A-0192", "e2", 2)
    >>> roster.of_subject("A-0192"), roster.texts(9), roster.kinds.tolist()[7:]
    ([7, 9], ('A-0192', 'e2'), [1, 0, 2])
    """

    def __init__(self) -> None:
        self._above = 0  # all numbers that ever were
        # 0 where there is no encounter; uint32 once there are more kinds
        self._kind: NDArray[np.uint16] | NDArray[np.uint32] = np.zeros(_LEAST_ROOM, dtype=np.uint16)
        self._next = np.zeros(_LEAST_ROOM, dtype=np.uint32)
        self._at = np.zeros(_LEAST_ROOM, dtype=np.uint32)
        self._hash = np.zeros(_LEAST_ROOM, dtype=np.uint32)  # of the subject, so that the table grows without its text
        self._room = _LEAST_ROOM  # numbers that all four have room for
        self._pages: list[bytes] = [b""]
        self._table = SubjectTable()
        self._encounters = 0

    def __len__(self) -> int:
        return self._encounters

    def __contains__(self, number: int) -> bool:
        return 0 <= number < self._above and bool(self._kind[number])

    @property
    def subjects(self) -> int:
        """How many subjects the encounters belong to."""
        return len(self._table)

    @property
    def kinds(self) -> NDArray[np.uint16] | NDArray[np.uint32]:
        """The kind of each number that ever was, 0 where there is no encounter; a view."""
        return self._kind[: self._above]

    def add(self, number: int, subject_id: str, encounter_id: str, kind: int) -> None:
        """Take in an encounter that is not there, of a kind above 0.

        Raises
        ------
        InvalidInputError
            The number is beyond what a roster holds.
        """
        self.add_all([(number, subject_id, encounter_id, kind)])

    def add_all(self, encounters: Sequence[tuple[int, str, str, int]]) -> None:
        """Take in several encounters, one or more, each as :meth:`add` does: room is made once."""
        numbers = [number for number, *_ in encounters]
        for number in numbers:
            if not 0 <= number <= MAX_NUMBER:
                raise InvalidInputError(f"number: expected 0..{MAX_NUMBER}, got {number}; export into a new database")
        self._make_room(max(numbers), len(numbers), max(kind for *_, kind in encounters))
        for number, subject_id, encounter_id, kind in encounters:
            subject = packed(subject_id)
            page = number // PAGE
            self._at[number] = len(self._pages[page])
            self._pages[page] += subject + packed(encounter_id)
            self._hash[number] = hash(subject) & _HASH
            self._kind[number] = kind
            self._encounters += 1
            self._join(number, subject)

    def remove(self, number: int) -> None:
        """Forget an encounter that is there."""
        page, _ = divmod(number, PAGE)
        text, start = self._pages[page], int(self._at[number])
        middle, stop = ends(text, start)
        seat = self._seat(text[start:middle])
        following, before = int(self._next[number]), number
        while self._next[before] != number:
            before = int(self._next[before])
        if following == number:
            self._table.clear(seat, self._hash)
        else:
            self._next[before] = following
            if seat.number == number:
                self._table.put(seat, following)
        self._kind[number] = 0
        self._encounters -= 1
        self._pages[page] = text[:start] + text[stop:]
        offsets = self._at[page * PAGE : (page + 1) * PAGE]
        offsets[offsets > start] -= stop - start

    def kind(self, number: int) -> int:
        """Return the kind of an encounter, 0 where it is not there."""
        return int(self._kind.item(number)) if 0 <= number < self._above else 0

    def texts(self, number: int) -> tuple[str, str]:
        """Return the subject's and the encounter's id of an encounter that is there."""
        text = self._pages[number // PAGE]
        subject_id, middle = unpacked(text, self._at.item(number))
        return subject_id, unpacked(text, middle)[0]

    def of_subject(self, subject_id: str) -> list[int]:
        """Return the numbers of a subject's encounters, rising; none where it has none."""
        first = self._seat(packed(subject_id)).number
        if first < 0:
            return []
        numbers = [first]
        while (following := int(self._next[numbers[-1]])) != first:
            numbers.append(following)
        return sorted(numbers)

    def best_of_subjects(
        self, numbers: NDArray[np.int64], most: int, counted: NDArray[np.bool_], excluded: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return which are the first encounters of their subjects in rows of encounters.

        Parameters
        ----------
        numbers : (Q, N) int64
            Encounters; nothing behind a -1. One that is not there is taken for a subject's own.
        most : int
            M, subjects a row at most.
        counted : (K,) bool
            By kind.
        excluded : int
            An encounter whose subject is passed over, -1 for none.

        Returns
        -------
        places : (Q, M) int64
            Of the first encounter of each subject in its row, rising; -1 where a row has fewer subjects.
        counts : (Q, M) int64
            How many of the subject's encounters are of a kind that counts.
        """
        places = np.full((len(numbers), most), -1, dtype=np.int64)
        counts = np.zeros((len(numbers), most), dtype=np.int64)
        _best_of_rings(self._next, self._kind, numbers, counted, excluded, places, counts)
        return places, counts

    def page(self, page: int) -> Page:
        """Return a copy of what is in a page, 0 or more; there may be nothing."""
        kinds = self._kind[page * PAGE : min((page + 1) * PAGE, self._above)]
        rows = np.flatnonzero(kinds)
        if not len(rows):
            return Page(rows, np.empty(0, np.uint32), np.empty(0, np.uint32), b"")
        return Page(rows + page * PAGE, kinds[rows].astype(np.uint32), self._at[page * PAGE + rows], self._pages[page])

    def take_in(self, page: Page) -> None:
        """Take in encounters of one page, in which there are none; kinds are above 0.

        Raises
        ------
        IndexError
            A text is cut off; nothing was taken in.
        """
        numbers, texts = page.numbers, page.texts
        hashes = []
        for start in page.at.tolist():
            middle, _ = ends(texts, start)
            hashes.append(hash(texts[start:middle]) & _HASH)
        self._make_room(int(numbers[-1]), len(numbers), int(page.kinds.max()))
        self._hash[numbers] = hashes
        self._kind[numbers], self._at[numbers] = page.kinds, page.at
        self._pages[int(numbers[0]) // PAGE] = texts
        self._encounters += len(numbers)
        self._next[numbers] = numbers
        for number in numbers[self._table.enter(numbers, self._hash)].tolist():
            start = int(self._at[number])
            self._join(number, texts[start : ends(texts, start)[0]])

    def subjects_among(self, chosen: NDArray[np.bool_]) -> int:
        """Return how many subjects have an encounter among those marked, by number; only such that are there."""
        return int(_rings(self._next[: self._above], chosen))

    def _join(self, number: int, subject: bytes) -> None:
        # Puts an encounter beside the others of its subject, or the subject into the table.
        seat = self._seat(subject)
        if seat.number < 0:
            self._next[number] = number
            self._table.put(seat, number)
        else:
            self._next[number] = self._next[seat.number]
            self._next[seat.number] = number

    def _make_room(self, number: int, subjects: int, kind: int) -> None:
        if kind > np.iinfo(self._kind.dtype).max:
            self._kind = _grown(self._kind, self._above, self._room, np.uint32)
            self._room = min(self._room, len(self._kind))
        if number >= self._room:
            room = min(max(number + 1, 2 * self._room), MAX_NUMBER + 1)
            self._kind = _grown(self._kind, self._above, room, self._kind.dtype)
            self._next, self._at, self._hash = (
                _grown(array, self._above, room, np.uint32) for array in (self._next, self._at, self._hash)
            )
            self._room = min(map(len, (self._kind, self._next, self._at, self._hash)))
        self._pages.extend([b""] * (number // PAGE + 1 - len(self._pages)))
        self._above = max(self._above, number + 1)
        self._table.make_room(subjects, self._hash)

    def _seat(self, subject: bytes) -> Seat:
        return self._table.seat(
            hash(subject) & _HASH,
            self._hash,
            lambda number: self._pages[number // PAGE].startswith(subject, int(self._at[number])),
        )


def warm_up() -> None:
    """Compile what would be compiled at first use; numba keeps it for the next process."""
    like = Roster()
    for number in range(41):  # more than the first table takes, so that it grows
        like.add(number, f"A-{number}", "e", 1)
    like.take_in(Page(np.array([PAGE]), np.ones(1, dtype=np.uint32), np.zeros(1, dtype=np.uint32), packed("B") * 2))
    like.subjects_among(like.kinds > 0)
    like.best_of_subjects(np.zeros((1, 1), dtype=np.int64), 1, np.ones(2, dtype=np.bool_), -1)
    like.remove(0)


def _grown(array: NDArray[Any], used: int, room: int, dtype: DTypeLike) -> NDArray[Any]:
    if len(array) >= room and array.dtype == dtype:
        return array
    grown = _zeros(room, np.dtype(dtype))
    grown[:used] = array[:used]
    return grown


def _zeros(room: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    # Memory that nobody has written to costs nothing. So large arrays get addresses for every number that there can be,
    # 16 GiB of uint32, and are never copied again while everybody waits: 18 ms at a million, 208 at eight.
    # Where there is a limit to addresses (ulimit -v, vm.overcommit_memory = 2) they go on to double.
    if room > _MOST_COPIED:
        with suppress(OSError):
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE
            addresses = mmap.mmap(-1, (MAX_NUMBER + 1) * dtype.itemsize, flags=flags)
            with suppress(OSError):  # a kernel without them
                addresses.madvise(mmap.MADV_HUGEPAGE)  # as numpy asks for its own arrays of this size
            return np.frombuffer(addresses, dtype)
    return np.zeros(room, dtype)


@kernel
def _rings(following: NDArray[np.uint32], chosen: NDArray[np.bool_]) -> int:
    # A subject counts at the lowest of its marked encounters.
    count = 0
    for number in range(len(chosen)):
        if not chosen[number]:
            continue
        other = np.int64(following[number])
        while other > number or (other < number and not chosen[other]):
            other = np.int64(following[other])
        count += other == number
    return count


@kernel
def _best_of_rings(
    following: NDArray[np.uint32],
    kinds: NDArray[Any],
    numbers: NDArray[np.int64],
    counted: NDArray[np.bool_],
    excluded: int,
    places: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> None:
    for q in range(len(numbers)):
        subjects = 0
        for place in range(numbers.shape[1]):
            number = numbers[q, place]
            if number < 0 or subjects == places.shape[1]:
                break
            # Round the ring once: who was taken, and who is left out, would be met on the way.
            met, count, other = False, 0, number
            while number < len(kinds) and kinds[number] != 0:
                met |= other == excluded
                for n in range(subjects):
                    met |= numbers[q, places[q, n]] == other
                count += kinds[other] < len(counted) and counted[kinds[other]]
                other = np.int64(following[other])
                if met or other == number:
                    break
            if not met:
                places[q, subjects], counts[q, subjects] = place, count
                subjects += 1
