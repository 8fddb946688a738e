"""The report of an import: a line of JSON for each record, from which a later run sees what is done.

Each line is written by one call and whole: after a power cut at most the last one is torn, and is cut off when the
report is opened again. What it had said is asked again, under the same transaction id, and answered as it was.
"""

import fcntl
import json
import os
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from biometrik.cli.root import FORMAT
from biometrik.cli.schema import Json
from biometrik.errors import InvalidInputError
from biometrik.gallery.records import MAX_ID_CHARACTERS
from biometrik.types import EnrollmentOutcome

#: Outcomes besides those of an enrolment: an error; of a dry run, that all could be read, or not.
FAILED: Final = "FAILED"
READABLE: Final = "READABLE"
UNREADABLE: Final = "UNREADABLE"
#: Done by an earlier run, by this report; not written again.
SKIPPED: Final = "SKIPPED"

#: How each line begins.
_START: Final = f'{{"format": {FORMAT}, "record": '.encode()
#: Longer than any line: what comes from outside is cut to what its bounds allow.
_MAX_LINE_BYTES: Final = 1 << 20
_MAX_NAME: Final = 1024


class Report:
    """A report file, open for one run; safe to use from several threads.

    Parameters
    ----------
    path : Path
        The file: made with mode 0600, or gone on with.
    into : str
        Where records are enrolled. Lines about another place say nothing of this one.
    forget : bool
        Whether what is done by the report is to be done again.

    Raises
    ------
    InvalidInputError
        It cannot be written, is no report, or another run has it.
    """

    def __init__(self, path: Path, into: str, *, forget: bool = False) -> None:
        self.counts: Counter[str] = Counter()
        self._into = into
        self._done: set[str] = set()
        self._writing = threading.Lock()
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise InvalidInputError(f"{path}: expected a report that can be written, got {error.strerror}") from None
        try:
            self._open(path)
        except BaseException:
            os.close(self._file)
            raise
        if forget:
            self._done.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._writing:  # whoever reads on for a while on another thread must not meet another file
            os.fsync(self._file)
            os.close(self._file)
            self._file = -1

    def has(self, transaction: str) -> bool:
        """Whether an earlier run enrolled this."""
        return transaction in self._done

    def add(self, record: str, subject: str, transaction: str, outcome: str, **said: object) -> None:
        """Write what became of a record; raises InvalidInputError where the disk is full or gone."""
        row: Json = {
            "format": FORMAT,
            "record": record[:_MAX_NAME],
            "subject_id": subject[:MAX_ID_CHARACTERS],
            "transaction_id": transaction[:MAX_ID_CHARACTERS],
            "into": self._into,
            "outcome": outcome,
            **said,
        }
        line = memoryview(json.dumps(row, allow_nan=False).encode("ascii") + b"\n")
        with self._writing:
            if self._file < 0:
                raise InvalidInputError("report: expected an open one, got one that was closed")
            start = os.fstat(self._file).st_size
            try:
                while line:
                    line = line[os.write(self._file, line) :]
            except OSError as error:
                with suppress(OSError):  # a disk that is full took a part: no half line may stand before others
                    os.ftruncate(self._file, start)
                raise InvalidInputError(f"report: expected one that can be written, got {error.strerror}") from None
            self.counts[outcome] += 1

    def skip(self) -> None:
        """Count a record that is done already."""
        with self._writing:
            self.counts[SKIPPED] += 1

    def _open(self, path: Path) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InvalidInputError(f"{path}: another import writes this report; wait, or name another") from None
        whole, size = 0, os.fstat(self._file).st_size
        with os.fdopen(os.dup(self._file), "rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(_MAX_LINE_BYTES), b""), 1):
                torn = not line.endswith(b"\n") and whole + len(line) == size
                if torn and line.startswith(_START[: len(line)]):
                    break
                self._learn(line, f"{path}: line {number}")
                whole += len(line)
        if whole < size:
            os.ftruncate(self._file, whole)

    def _learn(self, line: bytes, where: str) -> None:
        try:
            row = json.loads(line)
            done, into, transaction = row["outcome"], row["into"], str(row["transaction_id"])
        except (ValueError, KeyError, TypeError, RecursionError):
            raise InvalidInputError(f"{where}: expected a line of an import's report; name another file") from None
        if done == EnrollmentOutcome.ENROLLED.value and into == self._into:
            self._done.add(transaction)
