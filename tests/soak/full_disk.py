"""A disk that is full at a random point while several threads write, and has room again later."""

import random
import resource
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from biometrik.errors import BiometrikError, StoreUnavailableError
from biometrik.gallery.gallery import Gallery
from biometrik.gallery.stores.sqlite import SqliteStore
from tests.soak.service import Failure
from tests.soak.store import Acknowledged, open_gallery, write_for_ever, wrong

Run = Callable[[int, int, int], Sequence[Failure]]

_WORKERS: Final = 4
#: Bytes that may still be written when a round begins: from nothing to some tens of commits.
_MOST_BYTES: Final = 400_000
#: Requests of a worker after which a round ends though the disk did not fill.
_MOST_REQUESTS: Final = 60
#: Words of the remedies that a full disk is told with.
_REMEDY: Final = "free space on the disk"
_LATER: Final = "the next erasure or closing tries again"


@contextmanager
def file_size(path: Path, _: Gallery, allowed: int) -> Iterator[None]:
    """Let the kernel end every write that makes a file larger: also in the middle of a page, of log and file."""
    log = path.with_name(path.name + "-wal")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((log.stat().st_size if log.exists() else 0) + allowed, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def pages(_: Path, gallery: Gallery, allowed: int) -> Iterator[None]:
    """Let SQLite refuse new pages, as it does where the disk has none, in the middle of a transaction."""
    store = gallery._store
    assert isinstance(store, SqliteStore)
    with store.quiet():
        writer = store._database._writer
        (there,) = writer.execute("PRAGMA page_count").fetchone()
        writer.execute(f"PRAGMA max_page_count={there + allowed // 40_000}").fetchall()
    try:
        yield
    finally:
        with store.quiet():
            writer.execute("PRAGMA max_page_count=1073741823").fetchall()


def fill_round(path: Path, index: int, rng: random.Random) -> Iterator[str]:
    """Write on a disk that fills, then on one with room, and yield what is wrong after each and after a restart."""
    told, lines = Acknowledged(), threading.Lock()
    gallery = open_gallery(path)
    try:
        gallery.create_gallery("watch")
        refused: list[BiometrikError] = []

        def write(worker: int, seed: int, requests: int) -> None:
            asked: list[str] = []
            answered = 0

            def tell(*fields: str) -> None:
                nonlocal answered
                asked[:] = fields
                answered += fields[0] == "done"
                with lines:
                    told.take(fields)

            try:
                write_for_ever(gallery, worker, seed, tell, lambda: answered == requests)
            except BiometrikError as error:
                with lines:
                    refused.append(error)
                    if _LATER not in str(error):  # else it is done, and only its bytes are still there
                        told.take(("refused", *asked[1:]))

        def all_write(seed: int, requests: int) -> None:
            threads = [threading.Thread(target=write, args=(worker, seed, requests)) for worker in range(_WORKERS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        all_write(2 * index, 8)
        with (file_size if index % 2 else pages)(path, gallery, rng.randrange(_MOST_BYTES)):
            all_write(2 * index + 1, _MOST_REQUESTS)
        for error in refused:
            if not isinstance(error, StoreUnavailableError) or _REMEDY not in str(error):
                yield f"refused with {type(error).__name__}: {error}"
        refused.clear()
        gallery.erase(*_anybody(told))
        yield from wrong(gallery, path, told)
        all_write(2 * index + 1_000_000, 4)
        yield from (f"refused though there is room: {error}" for error in refused)
    finally:
        gallery.close()
    gallery = open_gallery(path)
    try:
        yield from wrong(gallery, path, told)
    finally:
        gallery.close()


def _anybody(told: Acknowledged) -> list[str]:
    # An erasure empties the log, also of what an erasure before could not remove.
    someone = next(subject_id for subject_id, state in told.known.items() if state and subject_id not in told.asked)
    told.known[someone] = None
    return [someone]


@contextmanager
def filling() -> Iterator[Run]:
    """Yield what fills disks in rounds, each with a new database."""
    assert sys.platform != "win32"

    def run(count: int, seed: int, start: int) -> Sequence[Failure]:
        failures = []
        for index in range(start, start + count):
            with TemporaryDirectory() as folder:
                rng = random.Random(f"{seed}:{index}")
                failures += [
                    Failure(index, "full disk", what) for what in fill_round(Path(folder) / "office.db", index, rng)
                ]
        return failures

    yield run
