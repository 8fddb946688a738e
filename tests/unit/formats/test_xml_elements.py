import pytest

from biometrik.errors import InvalidInputError, RecordFormatError
from biometrik.formats.xml_elements import read_elements


def test_names_lose_their_namespaces_and_text_its_edges() -> None:
    root = read_elements(b"<p:a xmlns:p='urn:x'><b k='v'> one <!-- x --> two </b><b>three</b></p:a>", max_bytes=100)
    assert root.name == "a"
    assert [child.text for child in root.all("b")] == ["one  two", "three"]
    assert root.children[0].attributes == {"k": "v"}
    assert root.first_text("b") == "one  two"
    assert root.first("b", "c") is None
    assert root.first_text("c") == ""


@pytest.mark.parametrize(
    "document",
    [
        b"<!DOCTYPE a><a/>",
        b"<!DOCTYPE a SYSTEM 'file:///etc/hostname'><a/>",
        b"<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>",
        b"<!DOCTYPE a [<!ENTITY % x SYSTEM 'http://localhost/'> %x;]><a/>",
    ],
)
def test_document_types_and_entities_are_refused(document: bytes) -> None:
    with pytest.raises(RecordFormatError, match="no document type and no entities"):
        read_elements(document, max_bytes=1000)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b"", "well-formed"),
        (b"<a>", "well-formed"),
        (b"<a></b>", "well-formed"),
        (b"<a>&x;</a>", "well-formed"),
        (b"<a>\xff</a>", "well-formed"),
        ("<?xml version='1.0' encoding='utf-16'?><a/>".encode("utf-16"), "UTF-8"),
        (b"<a>" * 13 + b"</a>" * 13, "12 deep"),
        (b"<a>" + b"<b/>" * 2048 + b"</a>", "2048 elements"),
        (b"<a " + b" ".join(b"a%d=''" % i for i in range(9)) + b"/>", "8 attributes"),
        (b"<a " + b" ".join(b"a%d=''" % i for i in range(3000)) + b"/>", "few and short attributes"),
        (b"<a b='" + b"x" * 5000 + b"'/>", "few and short attributes"),
        (b"<" + b"a" * 65 + b"/>", "64 characters"),
        (b"<a>" + b"x" * 50_000 + b"</a>", "at most 50000 octets"),
    ],
)
def test_what_is_too_much_or_broken_is_refused(document: bytes, words: str) -> None:
    with pytest.raises(RecordFormatError, match=words):
        read_elements(document, max_bytes=50_000)


def test_another_type_is_a_programming_error() -> None:
    with pytest.raises(InvalidInputError, match="expected bytes, got str"):
        read_elements("<a/>", max_bytes=10)  # type: ignore[arg-type]


def test_a_long_text_is_kept_whole() -> None:
    text = b"QUJD" * 100_000
    assert bytes(read_elements(b"<a>" + text + b"</a>", max_bytes=1 << 20).octets) == text
