"""One engine and one service, asked the same questions: in process, by the client, and by the asynchronous client."""

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import cv2
import numpy as np
import pytest

from biometrik.client import AsyncClient, Client, Connection
from biometrik.engine import Engine
from biometrik.fingers import FingerPosition, FingerprintImage
from biometrik.gallery.records import DEFAULT_GALLERY
from biometrik.synthetic.fingerprints import draw_finger
from biometrik.synthetic.impressions import draw_impression
from biometrik.types import FaceImage
from biometrik_server.app import Server
from biometrik_server.config import ServerConfig

T = TypeVar("T")

WAIT_S: Final = 60.0
#: Whoever answers; the asynchronous client stands behind the synchronous one's signatures.
Biometrik = Engine | Client


class Loop:
    """An event loop on a thread of its own; service and asynchronous clients share it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="loop", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what a coroutine returns."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_S)

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_S)
        self._loop.close()


class Waiting:
    """An asynchronous client, each call waited for."""

    def __init__(self, client: AsyncClient, loop: Loop) -> None:
        self._client = client
        self._loop = loop

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)
        if inspect.isasyncgenfunction(method):
            return lambda people, **options: self._loop.run(_all(method(_one_by_one(people), **options)))
        return lambda *args, **kwargs: self._loop.run(method(*args, **kwargs))


async def _all(rows: AsyncIterator[T]) -> list[T]:
    return [row async for row in rows]


async def _one_by_one(rows: Iterable[T]) -> AsyncIterator[T]:
    for row in rows:
        yield row


@dataclass(frozen=True, slots=True)
class Office:
    """An engine in process, and a service of the same settings with its own database.

    Parameters
    ----------
    engine : Engine
        By itself.
    served : Engine
        The service's own, for a look at the same database from within.
    client, waiting : Client
        The service's two clients.
    """

    engine: Engine
    served: Engine
    client: Client
    waiting: Client

    def of(self, name: str) -> Biometrik:
        """Return one of the three by name."""
        everybody: dict[str, Biometrik] = {"engine": self.engine, "client": self.client, "async": self.waiting}
        return everybody[name]

    def clear(self) -> None:
        """Leave both databases without people and galleries."""
        for engine in (self.engine, self.served):
            for subject in engine.subjects(limit=1000):
                engine.erase(subject.subject_id)
            for gallery in engine.galleries():
                if gallery.name != DEFAULT_GALLERY:
                    engine.delete_gallery(gallery.name)


def _open(loop: Loop, **models: Any) -> Iterator[Office]:
    settings = {"database": ":memory:", "listen": "127.0.0.1:0", "engine": {"threads": 1, **models}}
    config = ServerConfig.load(None, settings)
    server = loop.run(Server.start(config))
    try:
        address = f"127.0.0.1:{server.port}"

        async def connected() -> AsyncClient:
            return AsyncClient(Connection(address, locale="id"))

        asynchronous = loop.run(connected())
        try:
            with Engine.open(":memory:", config.engine.parameters()) as engine, Client(address) as client:
                waiting = cast(Client, Waiting(asynchronous, loop))
                yield Office(engine, server._desk.engine, client, waiting)
        finally:
            loop.run(asynchronous.close())
    finally:
        loop.run(server.stop())


@pytest.fixture(scope="session")
def _loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture(scope="session")
def _office(_loop: Loop) -> Iterator[Office]:
    yield from _open(_loop)


@pytest.fixture(scope="session")
def _strict_office(_loop: Loop) -> Iterator[Office]:
    yield from _open(_loop, require_consent=True, face_policy="error")


@pytest.fixture
def office(_office: Office) -> Iterator[Office]:
    """Return engine and service with empty databases."""
    yield _office
    _office.clear()


@pytest.fixture(params=["engine", "client", "async"])
def biometrik(office: Office, request: pytest.FixtureRequest) -> Biometrik:
    """Return the engine, or the service by one of its clients, with an empty database."""
    return office.of(request.param)


@pytest.fixture(params=["engine", "client", "async"])
def strict(_strict_office: Office, request: pytest.FixtureRequest) -> Iterator[Biometrik]:
    """Return one that requires consent and refuses photographs of several people."""
    yield _strict_office.of(request.param)
    _strict_office.clear()


def _photograph(package: str, *parts: str) -> FaceImage:
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    return FaceImage.from_file(Path(spec.submodule_search_locations[0]).joinpath(*parts))


@pytest.fixture(scope="session")
def group() -> FaceImage:
    """Return the photograph of six people that insightface ships."""
    return _photograph("insightface", "data", "images", "t1.jpg")


@pytest.fixture(scope="session")
def astronaut() -> FaceImage:
    """Return the portrait that scikit-image ships."""
    return _photograph("skimage", "data", "astronaut.png")


@pytest.fixture(scope="session")
def cat() -> FaceImage:
    """Return a photograph without a person."""
    return _photograph("skimage", "data", "chelsea.png")


@pytest.fixture(scope="session")
def people(group: FaceImage, _office: Office) -> list[FaceImage]:
    """Return the six, cut out, left to right."""
    faces = _office.engine._recognition.face.detector.detect([group.pixels])[0]
    cuts = []
    for face in sorted(faces, key=lambda face: face.box.x):
        x, y = face.box.centre
        half = face.box.height * 1.1
        top, left = max(0, int(y - half)), max(0, int(x - half))
        cuts.append(FaceImage(group.pixels[top : int(y + half), left : int(x + half)].copy()))
    assert len(cuts) == 6
    return cuts


@pytest.fixture(scope="session")
def prints() -> list[FingerprintImage]:
    """Return synthetic prints: right and left index of one person, both again, a stranger's right index."""
    right, left = FingerPosition.RIGHT_INDEX, FingerPosition.LEFT_INDEX
    return [
        replace(draw_impression(draw_finger(3, finger), number).image, position=position)
        for finger, number, position in ((0, 0, right), (1, 0, left), (0, 1, right), (1, 1, left), (2, 0, right))
    ]


def _again(image: FaceImage) -> FaceImage:
    height, width = image.pixels.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), 4.0, 0.85)
    turned = cv2.warpAffine(image.pixels, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return FaceImage((turned * 0.9).astype(np.uint8))


@pytest.fixture(scope="session")
def again() -> Callable[[FaceImage], FaceImage]:
    """Return what photographs a photograph: smaller, turned by 4°, a little darker."""
    return _again


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if is_dataclass(value) and not isinstance(value, type):
        return type(value).__name__, {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple | list):
        return type(value)(_plain(item) for item in value)
    return value


@pytest.fixture(scope="session")
def plain() -> Callable[[Any], Any]:
    """Return what makes values comparable: fields by name, arrays by type, shape and bytes."""
    return _plain
