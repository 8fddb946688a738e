"""The engine itself: what opens a database and the models, and has all the methods."""

import tempfile
from os import PathLike, fspath
from pathlib import Path
from typing import Self

from biometrik.calibration import load_calibrations
from biometrik.config import EngineConfig
from biometrik.engine.enrolling import Enrolling
from biometrik.engine.keeping import Keeping
from biometrik.engine.recognising import Recognising
from biometrik.gallery import roster
from biometrik.gallery.gallery import Gallery
from biometrik.gallery.index import INDEXES
from biometrik.gallery.prints import PrintIndex
from biometrik.gallery.snapshot import Snapshot
from biometrik.gallery.store import STORES
from biometrik.recognition import Recognition


class Engine(Recognising, Enrolling, Keeping):
    """A database of enrolled people and the models to recognise them with.

    Open it with :meth:`open`; every method is safe to call from several threads. A forked child must open its own:
    the parent's engine refuses there.

    Examples
    --------
    >>> with Engine.open(":memory:") as engine:
    ...     len(engine.subjects())
    0
    """

    @classmethod
    def open(cls, path: str | PathLike[str], config: EngineConfig | None = None) -> Self:
        """Open a database, creating it if it is not there, and load the models.

        An engine is hundreds of thousands of objects that stay. A process that goes on to answer requests does well to
        call ``gc.collect()`` and ``gc.freeze()`` afterwards, as ``biometrik serve`` does: else collections look through
        them again and again, which stops all threads for up to 70 ms at a time.

        Parameters
        ----------
        path : path-like
            File of the database, or ``":memory:"`` for one that vanishes when it is closed.
        config : EngineConfig, optional
            Models, runtime, gallery; the defaults run the bundled models on the CPU.

        Raises
        ------
        ModelError
            Weights are missing, damaged, without licence, or the execution provider cannot run here.
        DatabaseLockedError
            Another process owns the database; the message names it.
        StoreDamagedError, StoreUnavailableError
            The database cannot be read.
        PluginNotFoundError
            The configuration names a plug-in that is not there.
        """
        config = config or EngineConfig()
        recognition = Recognition(config)
        evidence = load_calibrations(config.models.calibrations)
        in_memory = fspath(path) == ":memory:"
        folder = Path(tempfile.gettempdir()) if in_memory else Path(path).absolute().parent
        index = INDEXES.load(config.gallery.index)(
            recognition.face.embedder.dimension,
            folder if config.gallery.vectors_on_disk else None,
            device_id=config.runtime.device_id,
        )
        if config.runtime.warm_up:
            index.warm_up()
            roster.warm_up()
        file = None if in_memory or not config.gallery.snapshot else Path(f"{fspath(path)}.index")
        # A snapshot vouches for what it was made of; the rest is checked while the engine is at work (ADR 18).
        store = STORES.load("memory" if in_memory else config.gallery.store).open(
            path, check=file is None or not file.exists()
        )
        try:
            gallery = Gallery(
                store,
                index,
                PrintIndex(lambda: recognition.matcher, config.gallery.exhaustive_prints),
                owns=recognition.owns,
                features_of=recognition.features_of_many,
                quarantine=config.gallery.on_damage == "quarantine",
                snapshot=None if file is None else Snapshot(file, store.protection, recognition.contract),
            )
        except BaseException:
            store.close()
            raise
        return cls(recognition, gallery, evidence, config)
