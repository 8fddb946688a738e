"""Random and damaged requests of the whole contract, made from its descriptors."""

import math
import random
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message

from biometrik.types import Modality, Template
from biometrik.v1 import (
    admin_service_pb2,
    enrollment_service_pb2,
    gallery_service_pb2,
    identification_service_pb2,
    sample_service_pb2,
    subject_service_pb2,
    verification_service_pb2,
)
from tests.soak import formats
from tests.soak.server_process import random_template

_FILES: Final = (
    sample_service_pb2,
    enrollment_service_pb2,
    subject_service_pb2,
    gallery_service_pb2,
    verification_service_pb2,
    identification_service_pb2,
    admin_service_pb2,
)
_F: Final = FieldDescriptor
_FLOATS: Final = (0.0, -0.0, 1e-3, 0.01, 1.0, -1.0, 1e-300, 5e-324, 1e308, math.inf, -math.inf, math.nan)
_BOUNDS: Final = {
    _F.TYPE_INT32: (-(1 << 31), (1 << 31) - 1),
    _F.TYPE_UINT32: (0, (1 << 32) - 1),
    _F.TYPE_INT64: (-(1 << 63), (1 << 63) - 1),
    _F.TYPE_UINT64: (0, (1 << 64) - 1),
}
#: Ids that requests share, so that they meet what earlier ones stored.
_IDS: Final = ("S-1", "S-2", "watch", "default", "counter", "strict", "id-ID")
_WORDS: Final = (
    "", "\0", "S-1\0", " ", "\n", "\u202eS-1", "é" * 64, "\U0001f9d1" * 33, "x" * 128, "x" * 129, "../../etc/passwd",
    "'; DROP TABLE subjects; --", "%s%n{0}", "\x7f\x1b[2J", "\ufeff", "\ufffd", "0", "x" * 70_000,
)  # fmt: skip
#: Further nesting than any message of the contract has.
_MAX_DEPTH: Final = 8


@dataclass(frozen=True, slots=True)
class Request:
    """One call: what is sent, byte by byte.

    Parameters
    ----------
    index : int
        Its number; with the seed it determines the rest.
    method : MethodDescriptor
        Of the contract.
    messages : tuple of bytes
        One, or several where the client streams.
    """

    index: int
    method: MethodDescriptor
    messages: tuple[bytes, ...]

    @property
    def path(self) -> str:
        """What gRPC calls the method."""
        return f"/{self.method.containing_service.full_name}/{self.method.name}"


def methods() -> tuple[MethodDescriptor, ...]:
    """Return every RPC of the contract."""
    return tuple(
        method for file in _FILES for service in file.DESCRIPTOR.services_by_name.values() for method in service.methods
    )


class RequestFuzz:
    """Makes requests; the same seed and index make the same one.

    Parameters
    ----------
    seed : int
        Of everything.
    model_contract_id : str
        Of the server's models, so that some templates are accepted.
    """

    def __init__(self, seed: int, model_contract_id: str) -> None:
        self._seed = seed
        self._methods = methods()
        self._blobs = _blobs(model_contract_id)

    def request(self, index: int) -> Request:
        """Return one; the methods take turns."""
        rng = random.Random(f"{self._seed}:{index}")
        method = self._methods[index % len(self._methods)]
        count = rng.randrange(4) if method.client_streaming else 1
        return Request(index, method, tuple(self._sent(rng, method.input_type) for _ in range(count)))

    def _sent(self, rng: random.Random, descriptor: Descriptor) -> bytes:
        message = self._message(rng, descriptor, wild=rng.choice((0.0, 0.05, 0.3)))
        data = message.SerializeToString()
        return _damaged(rng, data) if rng.random() < 0.15 else data

    def _message(self, rng: random.Random, descriptor: Descriptor, wild: float, depth: int = 0) -> Message:
        message: Message = message_factory.GetMessageClass(descriptor)()
        for field in _chosen_fields(rng, descriptor):
            if field.message_type is not None and depth >= _MAX_DEPTH:
                continue
            if field.is_repeated:
                most = 40 if rng.random() < wild / 4 else 3
                for _ in range(rng.randrange(1, most)):
                    self._add(rng, message, field, wild, depth)
            elif field.message_type is not None:
                getattr(message, field.name).CopyFrom(self._message(rng, field.message_type, wild, depth + 1))
            else:
                setattr(message, field.name, self._scalar(rng, field, wild))
        return message

    def _add(self, rng: random.Random, message: Message, field: FieldDescriptor, wild: float, depth: int) -> None:
        values: Any = getattr(message, field.name)
        if field.message_type is not None:
            values.append(self._message(rng, field.message_type, wild, depth + 1))
        else:
            values.append(self._scalar(rng, field, wild))

    def _scalar(self, rng: random.Random, field: FieldDescriptor, wild: float) -> Any:
        tame = rng.random() >= wild
        match field.type:
            case _F.TYPE_STRING:
                return rng.choice(_IDS if tame else _WORDS)
            case _F.TYPE_BYTES:
                return rng.choice(self._blobs) if tame else rng.randbytes(rng.choice((0, 1, 20, 3000)))
            case _F.TYPE_BOOL:
                return rng.random() < 0.5
            case _F.TYPE_DOUBLE | _F.TYPE_FLOAT:
                return rng.choice((1e-3, 0.01)) if tame else rng.choice(_FLOATS)
            case _F.TYPE_ENUM:
                # The first one after UNSPECIFIED is what is usual; a proto3 enum takes any number.
                return 1 if tame else rng.choice((0, 2, 3, 7, -1, 99, -(1 << 31), (1 << 31) - 1))
            case _:
                low, high = _BOUNDS[field.type]
                return rng.choice((1, 10)) if tame else rng.choice((low, low + 1, 0, 1001, high - 1, high))


def _chosen_fields(rng: random.Random, descriptor: Descriptor) -> Iterator[FieldDescriptor]:
    # Most fields are usually not set; of a oneof at most one can be.
    often = rng.choice((0.3, 0.6, 0.9))
    for group in descriptor.oneofs:
        if rng.random() < 0.9:
            yield rng.choice(list(group.fields))
    for field in descriptor.fields:
        if field.containing_oneof is None and rng.random() < _CHANCES.get(field.name, often):
            yield field


#: Without some fields no request comes far, and none does with those of fingers.
_CHANCES: Final = {
    **dict.fromkeys(
        ("samples", "probe", "reference", "modality", "subject_id", "kind", "name", "request", "record", "target"), 0.97
    ),
    **dict.fromkeys(("position", "impression", "ppi", "width_px", "height_px", "missing", "format"), 0.03),
}


def _damaged(rng: random.Random, data: bytes) -> bytes:
    damaged = bytearray(data or b"\x0a")
    match rng.randrange(5):
        case 0:
            del damaged[rng.randrange(len(damaged)) :]
        case 1:
            for _ in range(rng.choice((1, 1, 4, 16))):
                damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        case 2:
            damaged += damaged[: rng.randrange(len(damaged)) + 1]
        case 3:  # groups that are never closed, deeper than a parser follows
            damaged += b"\x0b" * rng.choice((1, 200, 20_000))
        case _:
            damaged[:] = rng.randbytes(rng.choice((1, 10, 1000)))
    return bytes(damaged)


def _blobs(model_contract_id: str) -> Sequence[bytes]:
    # What byte fields hold when nothing is damaged: templates good and bad, and images that hold nobody.
    good = [random_template(name, model_contract_id).to_bytes() for name in ("one", "two", "three")]
    unit = np.frombuffer(random_template("one", model_contract_id).payload, dtype="<f4")
    vectors: Sequence[Callable[[], np.ndarray[Any, Any]]] = (
        lambda: unit * np.float32(1e30),
        lambda: unit * np.float32(3.4e38),
        lambda: unit * 0,
        lambda: unit * np.float32(np.nan),
        lambda: np.full(128, np.inf, dtype="<f4"),
        lambda: unit[:64],
    )
    hostile = [Template(Modality.FACE, model_contract_id, make().tobytes()).to_bytes() for make in vectors]
    others = [
        Template(Modality.FINGER, model_contract_id, b"1234", 3).to_bytes(),
        Template(Modality.FACE, "other@1", unit.tobytes()).to_bytes(),
        good[0][:-1],
        b"",
    ]
    images = [
        png(33, 32), png(33, 32)[:-20], png(8, 8), png(60_000, 60_000, rows=1), b"\xff\xd8\xff\xe0\0\x10JFIF\0", b"BM",
        b"II*\0\x08\0\0\0", b"RIFF\xff\xff\xff\xffWEBPVP8 ", b"\0\0\0\x0cjP  \r\n\x87\n", b"GIF89a",
    ]  # fmt: skip
    records = [target.sample for target in formats.targets()]
    return (*good, *good, *good, *hostile, *others, *images, *records)


def png(width: int, height: int, *, rows: int | None = None) -> bytes:
    """Return a black PNG; one that says more ``height`` than it has ``rows`` is a bomb or damaged."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes((1 + width) * (height if rows is None else rows)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
