"""Pages of the contract, put together, are what the engine lists at once."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest

from biometrik import wire
from biometrik.client import Connection
from biometrik.errors import InvalidInputError, SubjectNotFoundError
from biometrik.types import FaceImage
from biometrik.v1 import (
    gallery_service_pb2,
    gallery_service_pb2_grpc,
    subject_service_pb2,
    subject_service_pb2_grpc,
)


def _together(ask: Callable[..., Any], rows: str, size: int) -> list[Any]:
    found: list[Any] = []
    token = ""
    for _ in range(20):
        page = ask(page_size=size, page_token=token)
        assert len(getattr(page, rows)) <= size
        found += getattr(page, rows)
        token = page.next_page_token
        if not token:
            return found
    raise AssertionError("pages without end")


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_pages_put_together_are_the_list(office: Any, people: list[FaceImage], size: int) -> None:
    channel = office.client._channel
    subjects = subject_service_pb2_grpc.SubjectServiceStub(channel)
    galleries = gallery_service_pb2_grpc.GalleryServiceStub(channel)
    served = office.served
    (template,) = served.extract([people[0]])
    for name in ("c", "a", "b"):
        served.create_gallery(name)
    for subject_id in ("A-2", "A-0", "A-1", "A-0", "A-0"):
        served.enroll(subject_id, [template], galleries=["a"])

    def members(**page: Any) -> Any:
        return galleries.ListMembers(gallery_service_pb2.ListMembersRequest(gallery="a", **page), timeout=20)

    def encounters(**page: Any) -> Any:
        return subjects.ListEncounters(subject_service_pb2.ListEncountersRequest(subject_id="A-0", **page), timeout=20)

    def every(**page: Any) -> Any:
        return galleries.ListGalleries(gallery_service_pb2.ListGalleriesRequest(**page), timeout=20)

    assert list(map(wire.subject_from_wire, _together(members, "subjects", size))) == served.subjects(gallery="a")
    listed = tuple(map(wire.encounter_from_wire, _together(encounters, "encounters", size)))
    assert listed == served.subject("A-0").encounters
    assert list(map(wire.gallery_from_wire, _together(every, "galleries", size))) == served.galleries()


def test_a_page_that_cannot_be_is_refused(office: Any) -> None:
    channel = office.client._channel
    galleries = gallery_service_pb2_grpc.GalleryServiceStub(channel)
    subjects = subject_service_pb2_grpc.SubjectServiceStub(channel)
    request = gallery_service_pb2.ListGalleriesRequest
    calls: list[tuple[type[Exception], Callable[[], object]]] = [
        (InvalidInputError, lambda: galleries.ListGalleries(request(page_size=1001), timeout=20)),
        (InvalidInputError, lambda: galleries.ListGalleries(request(page_token="gone"), timeout=20)),
        (
            SubjectNotFoundError,
            lambda: subjects.ListEncounters(subject_service_pb2.ListEncountersRequest(subject_id="nobody"), timeout=20),
        ),
    ]
    for expected, call in calls:
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert type(Connection("x").error(caught.value)) is expected
