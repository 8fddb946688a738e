"""A folder into which another program writes images, and the hand-over of each to exactly one reader."""

import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from biometrik_hardware.deadline import Deadline
from biometrik_hardware.errors import DeviceGoneError, DeviceNotFoundError

#: Between two looks, seconds.
_LOOK_S: Final = 0.03
#: What a program calls a file that it still writes.
_UNFINISHED: Final = (".part", ".tmp", ".temp", ".crdownload", ".lock")
_MAX_BYTES: Final = 32 << 20

_Seen = tuple[int, int, int]


class Inbox:
    """The images that appear in a folder.

    A file counts when it is complete: it was renamed to its final name, or its size and time have not changed for
    ``rest_s``. It is claimed by renaming it, which one reader can do, read, and deleted: no image stays behind. What
    was in the folder before :meth:`begin` belongs to somebody else, perhaps to the person before, and is left alone.

    Parameters
    ----------
    folder : Path
        Must exist.
    name : str
        Of the device, for messages.
    rest_s : float
        Longer than the longest pause of the writing program within a file, seconds.
    """

    def __init__(self, folder: Path, name: str, rest_s: float = 0.2) -> None:
        self._folder = folder
        self._name = name
        self._rest_s = rest_s
        self._stale: set[_Seen] = set()
        if not folder.is_dir():
            raise DeviceNotFoundError(f"{name}: expected a folder, got none; make it, or mount it")

    def begin(self) -> None:
        """Leave alone what is in the folder now."""
        self._stale = {seen for _, seen in self._files()}

    def take(self, deadline: Deadline) -> bytes | None:
        """Wait for the oldest new file and return its bytes; None when the deadline is over.

        Raises
        ------
        DeviceGoneError
            The folder is gone.
        """
        resting: dict[Path, tuple[_Seen, float]] = {}
        while True:
            for path, seen in sorted(self._files(), key=lambda file: (file[1][1], file[0].name)):
                if seen in self._stale:
                    continue
                before, since = resting.get(path, (None, 0.0))
                if before != seen:
                    resting[path] = seen, time.monotonic()
                elif time.monotonic() - since >= self._rest_s and (data := self._claimed(path)) is not None:
                    return data
            if not deadline.wait(_LOOK_S):
                return None

    def _files(self) -> Iterator[tuple[Path, _Seen]]:
        try:
            entries = list(os.scandir(self._folder))
        except OSError:
            raise DeviceGoneError(f"{self._name}: expected a folder, got none; make it, or mount it") from None
        for entry in entries:
            if entry.name.startswith((".", "~")) or entry.name.lower().endswith(_UNFINISHED):
                continue
            try:
                if entry.is_file(follow_symlinks=False):
                    found = entry.stat(follow_symlinks=False)
                    yield Path(entry.path), (found.st_ino, found.st_mtime_ns, found.st_size)
            except FileNotFoundError:
                continue  # another reader was quicker

    def _claimed(self, path: Path) -> bytes | None:
        ours = path.with_name(f".biometrik-{secrets.token_hex(8)}")
        try:
            path.rename(ours)
        except FileNotFoundError:
            return None  # another reader was quicker
        try:
            with ours.open("rb") as file:
                ours.unlink()  # before it is read: whatever happens meanwhile, it does not stay
                return file.read(_MAX_BYTES + 1)  # decoding refuses what is longer
        finally:
            ours.unlink(missing_ok=True)
