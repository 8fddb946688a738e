"""Every reason speaks both languages."""

import pytest

from biometrik.reasons import Reason


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_two_different_sentences(reason: Reason) -> None:
    english, indonesian = reason.text("en"), reason.text("id")
    assert english != indonesian
    assert all(text[0].isupper() and text.endswith(".") and len(text) < 120 for text in (english, indonesian))
