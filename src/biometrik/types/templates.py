"""What is kept of a sample, and its bytes."""

import struct
import zlib
from dataclasses import dataclass, field
from typing import Final, Self

from biometrik.errors import InvalidInputError, TemplateFormatError
from biometrik.types.traits import FACE, Modality, Trait

_TEMPLATE_MAGIC: Final = b"BMTK"


_TEMPLATE_VERSION: Final = 1


#: magic, version, modality, finger position, length of the contract id, length of the payload
_TEMPLATE_HEADER: Final = struct.Struct("<4sBBBBI")


_MODALITY_CODES: Final = {Modality.FACE: 1, Modality.FINGER: 2}


_MAX_PAYLOAD_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Template:
    """What is stored of a sample and compared with others.

    Parameters
    ----------
    modality : Modality
        Face or finger.
    model_contract_id : str
        Names everything that shaped the numbers; templates of different contracts are never compared.
        At most 255 ASCII characters.
    payload : bytes
        The modality's own form; for a face the float32 embedding, little-endian. At most 1 MiB.
    position : int
        Finger position code 0..15 (ISO/IEC 19794-2), 0 for a face.
    """

    modality: Modality
    model_contract_id: str
    payload: bytes = field(repr=False)
    position: int = 0

    def __post_init__(self) -> None:
        if not 1 <= len(self.model_contract_id) <= 255 or not self.model_contract_id.isascii():
            raise InvalidInputError("model_contract_id: expected 1 to 255 ASCII characters")
        if not 0 <= self.position <= 15:
            raise InvalidInputError(f"position: expected 0..15, got {self.position}")
        if not 1 <= len(self.payload) <= _MAX_PAYLOAD_BYTES:
            raise InvalidInputError(f"payload: expected 1 to {_MAX_PAYLOAD_BYTES} bytes, got {len(self.payload)}")

    @property
    def trait(self) -> Trait:
        """What it is of."""
        return FACE if self.modality is Modality.FACE else Trait.finger(self.position)

    def to_bytes(self) -> bytes:
        """Serialise with version, modality, contract and a CRC-32 over all of it.

        Examples
        --------
        >>> template = Template(Modality.FACE, "demo@1", b"1234")
        >>> Template.from_bytes(template.to_bytes()) == template
        True
        """
        contract = self.model_contract_id.encode("ascii")
        header = _TEMPLATE_HEADER.pack(
            _TEMPLATE_MAGIC,
            _TEMPLATE_VERSION,
            _MODALITY_CODES[self.modality],
            self.position,
            len(contract),
            len(self.payload),
        )
        body = header + contract + self.payload
        return body + zlib.crc32(body).to_bytes(4, "little")

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what :meth:`to_bytes` wrote.

        Raises
        ------
        TemplateFormatError
            The bytes are damaged, truncated, too long, or of an unknown version or modality.
        """
        if len(data) < _TEMPLATE_HEADER.size + 4:
            raise TemplateFormatError(f"template: expected at least {_TEMPLATE_HEADER.size + 4} bytes, got {len(data)}")
        magic, version, code, position, contract_length, payload_length = _TEMPLATE_HEADER.unpack_from(data)
        if magic != _TEMPLATE_MAGIC:
            raise TemplateFormatError("template: does not begin with the mark of a template")
        if version != _TEMPLATE_VERSION:
            raise TemplateFormatError(f"template: expected version {_TEMPLATE_VERSION}, got {version}")
        start = _TEMPLATE_HEADER.size + contract_length
        expected = start + payload_length + 4
        if len(data) != expected:
            raise TemplateFormatError(f"template: expected {expected} bytes, got {len(data)}")
        if zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
            raise TemplateFormatError("template: checksum does not fit, the bytes are damaged")
        modality = next((m for m, c in _MODALITY_CODES.items() if c == code), None)
        if modality is None:
            raise TemplateFormatError(f"template: unknown modality code {code}")
        try:
            contract = data[_TEMPLATE_HEADER.size : start].decode("ascii")
            return cls(modality, contract, bytes(data[start:-4]), position)
        except (UnicodeDecodeError, InvalidInputError) as error:
            raise TemplateFormatError(f"template: {error}") from None
