"""The seam where encryption at rest sits."""

from biometrik.gallery.protection import NoProtection, Protection


def test_no_protection_returns_what_it_was_given() -> None:
    protection: Protection = NoProtection()
    assert isinstance(protection, Protection)
    assert protection.seal(b"template", b"e1/0") == b"template"
    assert protection.unseal(b"template", b"e1/1") == b"template"
