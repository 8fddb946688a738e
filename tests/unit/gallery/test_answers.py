"""An answer that was written down is read again as it was."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biometrik.gallery import answers
from biometrik.gallery.records import Answer, Change, GalleryChange
from biometrik.types import (
    Encounter,
    EncounterStatus,
    ErasureCertificate,
    GalleryInfo,
    GalleryKind,
    MissingReason,
    MissingSample,
    Modality,
    Trait,
)

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
COUNTS = st.integers(0, 2**40)
TIMES = st.datetimes(timezones=st.just(UTC))

ENCOUNTERS = st.builds(
    Encounter, NAMES, NAMES, st.sampled_from(EncounterStatus), st.lists(NAMES, max_size=3).map(tuple), TIMES, COUNTS
)
GALLERIES = st.builds(GalleryInfo, NAMES, st.sampled_from(GalleryKind), TIMES, COUNTS, COUNTS, NAMES, COUNTS)


@pytest.mark.parametrize(
    ("kind", "read"),
    [
        (st.builds(Change, COUNTS, COUNTS, ENCOUNTERS), answers.change),
        (st.builds(ErasureCertificate, NAMES, TIMES, COUNTS, COUNTS, COUNTS, NAMES), answers.erasure),
        (st.builds(GalleryChange, COUNTS, GALLERIES), answers.gallery_change),
    ],
    ids=["change", "erasure", "gallery_change"],
)
def test_answers_are_read_as_they_were(
    kind: st.SearchStrategy[Answer], read: Callable[[dict[str, Any]], Answer]
) -> None:
    @given(kind)
    def is_the_same(answer: Answer) -> None:
        assert read(json.loads(answers.as_json(answer))) == answer

    is_the_same()


def test_what_cannot_be_read_again_is_not_written() -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    odd = Encounter(b"id", "A-1", EncounterStatus.ACTIVE, (), at, 1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected a time or a name, got bytes"):
        answers.as_json(Change(1, 1, odd))


def test_a_change_is_written_with_all_its_fields_as_they_are_named() -> None:
    missing = (MissingSample(3, MissingReason.AMPUTATED, True),)
    traits = (Trait(Modality.FACE), Trait(Modality.FINGER, 2))
    encounter = Encounter("e", "S", EncounterStatus.ACTIVE, ("default",), datetime.now(UTC), 2, traits, missing)
    change = Change(5, 3, encounter, "a note")
    assert answers.as_json(change) == answers._JSON.encode(change)
    assert answers.change(json.loads(answers.as_json(change))) == change
