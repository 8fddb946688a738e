"""The bounds on what a store accepts."""

from datetime import UTC, datetime

import pytest

from biometrik.errors import GalleryNotFoundError, InvalidInputError
from biometrik.gallery.records import NewEncounter, certificate, chosen_galleries
from biometrik.types import Modality, Template

TEMPLATES = (Template(Modality.FACE, "test@1", b"1234"),)


def test_galleries_are_sorted_and_named_once() -> None:
    assert NewEncounter("A-1", TEMPLATES, ("b", "a", "b")).galleries == ("a", "b")
    assert chosen_galleries(["b", "a", "b"], ("a", "b", "c")) == ("a", "b")
    with pytest.raises(GalleryNotFoundError, match="got 'd'; create it first"):
        chosen_galleries(["b", "d"], ("a", "b", "c"))


def test_what_the_caller_gave_cannot_change_later() -> None:
    details = {"operator_ref": "op 7"}
    new = NewEncounter("A-1", TEMPLATES, details=details)
    details["operator_ref"] = "op 8"
    assert new.details == {"operator_ref": "op 7"}
    with pytest.raises(TypeError):
        new.details["operator_ref"] = "op 9"  # type: ignore[index]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"subject_id": ""}, "subject_id: expected 1..128 printable characters, got 0"),
        ({"subject_id": "a\tb"}, "subject_id: expected printable characters only"),
        ({"subject_id": 7}, "subject_id: expected a string, got int"),
        ({"transaction_id": "x" * 129}, "transaction_id: expected 1..128"),
        ({"request_digest": "x" * 129}, "request_digest: expected 1..128"),
        ({"templates": ()}, r"templates: expected 1\.\.256, got 0"),
        ({"templates": TEMPLATES * 257}, r"templates: expected 1\.\.256, got 257"),
        ({"galleries": "default"}, "galleries: expected a sequence of names, got one string"),
        ({"galleries": ("",)}, "gallery: expected 1..128"),
        ({"details": {str(n): "" for n in range(33)}}, "details: expected at most 32 entries, got 33"),
        ({"details": {"templates": "9"}}, "details: expected names"),
        ({"details": {"": "9"}}, "details: expected names"),
        ({"details": {"name": "x" * 2049}}, "details: expected values of at most 2048 characters, got 2049"),
        ({"details": {"name": 7}}, "details: expected strings only"),
    ],
)
def test_bounds_are_kept(arguments: dict[str, object], message: str) -> None:
    settings: dict[str, object] = {"subject_id": "A-1", "templates": TEMPLATES, **arguments}
    with pytest.raises(InvalidInputError, match=message):
        NewEncounter(**settings)  # type: ignore[arg-type]


def test_templates_are_not_shown() -> None:
    assert "1234" not in repr(NewEncounter("A-1", TEMPLATES))


def test_a_digest_tells_requests_apart_and_not_who_asks() -> None:
    base = NewEncounter("A-1", TEMPLATES, ("a",), "t", "d").transaction.digest
    assert base == NewEncounter("A-1", TEMPLATES, ("a",), "u", "d", {"n": "1"}).transaction.digest
    others = [
        NewEncounter("A-2", TEMPLATES, ("a",), "t", "d"),
        NewEncounter("A-1", TEMPLATES, ("b",), "t", "d"),
        NewEncounter("A-1", TEMPLATES, ("a", "b"), "t", "d"),
        NewEncounter("A-1", TEMPLATES, ("a",), "t", "e"),
    ]
    assert len({base, *(other.transaction.digest for other in others)}) == 5


def test_a_certificates_digest_covers_its_fields() -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    base = certificate("A-1", at, 1, 2, 3)
    assert (base.subject_id, base.erased_at, base.encounters, base.templates, base.event) == ("A-1", at, 1, 2, 3)
    others = [certificate("A-2", at, 1, 2, 3), certificate("A-1", at, 2, 2, 3), certificate("A-1", at, 1, 2, 4)]
    assert len({base.digest, *(other.digest for other in others)}) == 4
