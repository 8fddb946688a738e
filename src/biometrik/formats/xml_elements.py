"""Small XML documents from strangers, as a tree of elements, within bounds that hold while they are read.

Document types, and with them entities of every kind, are refused before they can do anything; size, depth and number
of elements are limited; the encoding is UTF-8 whatever the document says. Namespaces are dropped from names:
documents of one meaning come in several of them.
"""

import re
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat

from biometrik.errors import InvalidInputError, RecordFormatError

_MAX_DEPTH: Final = 12
#: Most elements of a document.
MAX_ELEMENTS: Final = 2048
_MAX_NAME: Final = 64
_MAX_ATTRIBUTES: Final = 8
_MAX_EQUALS: Final = 2048
_LONG_VALUE: Final = re.compile(rb"""=[ \t\r\n]{0,16}(?:"[^"<]{4097}|'[^'<]{4097})""")
_SEPARATOR: Final = " "  # between namespace and name; neither can hold one
_PIECE: Final = 1 << 16


@dataclass(slots=True)
class Element:
    """An element while the document is read, and after.

    Parameters
    ----------
    name : str
        Without namespace.
    attributes : dict
        Name, without namespace, → value.
    children : list of Element
        In the document's order.
    octets : bytearray
        Its own text in UTF-8, without that of its children.
    """

    name: str
    attributes: dict[str, str]
    children: list["Element"] = field(default_factory=list)
    octets: bytearray = field(default_factory=bytearray)

    @property
    def text(self) -> str:
        """Its own text without white space around it."""
        return self.octets.decode().strip()

    def all(self, name: str) -> list["Element"]:
        """Return the children of a name."""
        return [child for child in self.children if child.name == name]

    def first(self, *path: str) -> "Element | None":
        """Return the first element down a path of names, or None where there is none."""
        element: Element | None = self
        for name in path:
            element = next((child for child in element.children if child.name == name), None) if element else None
        return element

    def first_text(self, *path: str) -> str:
        """Return the text of the first element down a path, or "" where there is none."""
        element = self.first(*path)
        return element.text if element is not None else ""


def read_elements(data: bytes, *, max_bytes: int) -> Element:
    """Return the root of a document.

    Parameters
    ----------
    data : bytes
        UTF-8.
    max_bytes : int
        Longest document.

    Raises
    ------
    InvalidInputError
        ``data`` are not bytes.
    RecordFormatError
        Not well-formed, too long, too deep, too many elements, or a document type or entity.

    Examples
    --------
    >>> read_elements(b"<a xmlns='urn:x'><b>one</b></a>", max_bytes=100).first_text("b")
    'one'
    """
    if not isinstance(data, bytes):
        raise InvalidInputError(f"document: expected bytes, got {type(data).__name__}")
    if len(data) > max_bytes:
        raise RecordFormatError(f"document: expected at most {max_bytes} octets, got {len(data)}")
    if b"\0" in data:  # UTF-16 with a byte order mark would be read whatever encoding the parser is given
        raise RecordFormatError("document: expected UTF-8, got octets of another encoding")
    # The parser builds all attributes of an element before anyone can count them, but each needs its "=". Base64 has
    # at most two, at its end.
    if data.count(b"=") > _MAX_EQUALS or _LONG_VALUE.search(data):
        raise RecordFormatError("document: expected few and short attributes, got others")
    builder = _Builder()
    parser = expat.ParserCreate(encoding="utf-8", namespace_separator=_SEPARATOR)
    parser.buffer_text = True
    parser.buffer_size = _PIECE
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    parser.ExternalEntityRefHandler = _refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.characters
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise RecordFormatError(f"document: expected well-formed XML, got {expat.ErrorString(error.code)}") from None
    finally:
        builder.forget(parser)
    return builder.root


def _refuse(*_: object) -> int:
    raise RecordFormatError("document: expected no document type and no entities, got one; remove it")


class _Builder:
    def __init__(self) -> None:
        self._open: list[Element] = []
        self._count = 0
        self.root = Element("", {})

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > MAX_ELEMENTS or len(self._open) >= _MAX_DEPTH:
            raise RecordFormatError(f"document: expected at most {MAX_ELEMENTS} elements {_MAX_DEPTH} deep, got more")
        if len(attributes) > _MAX_ATTRIBUTES:
            raise RecordFormatError(f"document: expected at most {_MAX_ATTRIBUTES} attributes, got {len(attributes)}")
        element = Element(_local(name), {_local(key): value for key, value in attributes.items()})
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def end(self, _: str) -> None:
        self._open.pop()

    def characters(self, text: str) -> None:
        self._open[-1].octets += text.encode()

    def forget(self, parser: expat.XMLParserType) -> None:
        # The parser and the bound methods that it holds refer to each other.
        parser.StartElementHandler = parser.EndElementHandler = parser.CharacterDataHandler = None


def _local(name: str) -> str:
    local = name.rpartition(_SEPARATOR)[2]
    if len(local) > _MAX_NAME:
        raise RecordFormatError(f"document: expected names of at most {_MAX_NAME} characters, got {len(local)}")
    return local
