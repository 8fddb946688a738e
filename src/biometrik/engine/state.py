"""What an engine's methods share: models and gallery, the calls in flight, and the refusal of a forked child."""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from biometrik.admission import Admission
from biometrik.calibration import Evidence
from biometrik.config import EngineConfig
from biometrik.deduplication import Deduplication
from biometrik.errors import EngineClosedError, EngineStateError
from biometrik.examiner import Examiner
from biometrik.gallery.gallery import Gallery
from biometrik.recognition import Recognition


class EngineState:
    """What every method of an engine rests on: models, gallery, and the calls in flight.

    Parameters
    ----------
    recognition : Recognition
        The models.
    gallery : Gallery
        Who is enrolled.
    evidence : mapping of str to Evidence
        Calibrations by the models that they are of.
    config : EngineConfig
        What the engine was opened with.
    """

    def __init__(
        self,
        recognition: Recognition,
        gallery: Gallery,
        evidence: Mapping[str, Evidence],
        config: EngineConfig,
    ) -> None:
        self.config = config
        self._recognition = recognition
        self._examiner = Examiner(recognition, evidence, config.max_samples)
        self._gallery = gallery
        self._admission = Admission(gallery, self._examiner, recognition)
        self._deduplication = Deduplication(gallery, self._examiner)
        self._pid = os.getpid()
        self._idle = threading.Condition()
        self._calls = 0
        self._closed = False

    def close(self) -> None:
        """Wait for calls in flight, then close the database. Closing twice is fine."""
        self._refuse_in_fork()
        with self._idle:
            if self._closed:
                return
            self._closed = True
            self._idle.wait_for(lambda: self._calls == 0)
        self._gallery.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _call(self) -> Iterator[None]:
        self._refuse_in_fork()
        with self._idle:
            if self._closed:
                raise EngineClosedError("engine: closed; open it again with Engine.open")
            self._calls += 1
        try:
            yield
        finally:
            with self._idle:
                self._calls -= 1
                self._idle.notify_all()

    def _refuse_in_fork(self) -> None:
        if os.getpid() != self._pid:
            raise EngineStateError(
                f"engine: opened by process {self._pid}, used in its forked child {os.getpid()};"
                " open an engine after the fork, or start workers with the 'spawn' method"
            )
