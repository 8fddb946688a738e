"""A server in a process of its own for tests, and a photograph to ask it about."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from biometrik.imaging import encode_png
from biometrik.types import FaceImage
from tests.soak.server_process import ServerProcess

Serve = Callable[..., ServerProcess]

#: A page of figures on a free port of this machine.
METRICS = 'metrics = "127.0.0.1:0"\n'


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start servers with settings of one's own, in the test's folder; whatever still runs is killed."""
    with ExitStack() as stack:
        yield lambda settings="", **where: stack.enter_context(ServerProcess(tmp_path, settings, **where))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Return a server with default settings and a page of figures, shared by the tests of a module."""
    with ServerProcess(tmp_path_factory.mktemp("server"), METRICS) as process:
        yield process


@pytest.fixture(scope="session")
def portrait() -> FaceImage:
    """Return a photograph of one face, which scikit-image ships."""
    spec = find_spec("skimage")
    assert spec is not None
    assert spec.submodule_search_locations
    return FaceImage.from_file(Path(spec.submodule_search_locations[0]) / "data" / "astronaut.png")


@pytest.fixture(scope="session")
def slow_samples() -> list[FaceImage]:
    """Return what keeps the models busy for half a second or more: large gray pictures, as many as a call may have."""
    gray = FaceImage.from_bytes(encode_png(np.full((1200, 1600, 3), 128, dtype=np.uint8)))
    return [gray] * 16
