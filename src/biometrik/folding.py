"""Weights in the form that runs fastest: folded once from the shipped file, then read from a cache.

Folding changes how a network is written down, not what it computes (:mod:`biometrik.graph_surgery` does it). The
cache holds one file a source, recipe and version of this module. Each file ends in a seal, the SHA-256 of all that
stands before it, so that a file cut short or changed is noticed and made anew.
"""

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Final

from biometrik.errors import ModelError
from biometrik.manifest import Recipe

#: Raised whenever folding the same source gives other bytes, so that old cache files are left alone.
VERSION: Final = 1

#: Largest file of weights that is read, bytes.
MAX_BYTES: Final = 1 << 30

# The seal is a protobuf record that appends an entry to ModelProto.metadata_props (field 14 of the ONNX schema):
# key "biometrik.sha256", value 64 hexadecimal digits. Any ONNX reader takes a sealed file as it is.
_SEAL_KEY: Final = b"biometrik.sha256"
_SEAL_PREFIX: Final = b"\x72\x54\x0a\x10" + _SEAL_KEY + b"\x12\x40"
_SEAL_BYTES: Final = len(_SEAL_PREFIX) + 64


def folded(source: bytes, sha256: str, name: str, recipe: Recipe, cache: Path) -> Path:
    """Return the cached file of folded weights, made first if it is missing or damaged.

    Several processes may do this at once: each writes its own temporary file and renames it.

    Parameters
    ----------
    source : bytes
        The ONNX file as shipped, already verified.
    sha256 : str
        Of ``source``, hexadecimal.
    name : str
        Readable part of the file name.
    recipe : Recipe
        What to do.
    cache : Path
        Folder; created only if something must be written.

    Raises
    ------
    ModelError
        ``source`` is no ONNX model that can be folded by this recipe, or the cache cannot be written.
    """
    path = cache / f"{name}-{sha256[:16]}-v{VERSION}-{recipe.label}.onnx"
    if not is_intact(path):
        from biometrik.graph_surgery import fold  # imports onnx, which a warm start does without

        _write(path, seal(fold(source, recipe)))
    return path


def seal(model: bytes) -> bytes:
    """Append the SHA-256 of an ONNX file to it, as metadata that any reader skips."""
    return model + _SEAL_PREFIX + hashlib.sha256(model).hexdigest().encode()


def is_intact(path: Path) -> bool:
    """Tell whether a sealed file exists and is what was written."""
    try:
        with path.open("rb") as file:
            remaining = os.fstat(file.fileno()).st_size - _SEAL_BYTES
            if not 0 < remaining <= 2 * MAX_BYTES:
                return False
            digest = hashlib.sha256()
            while remaining and (chunk := file.read(min(remaining, 1 << 20))):
                digest.update(chunk)
                remaining -= len(chunk)
            return file.read() == _SEAL_PREFIX + digest.hexdigest().encode()
    except OSError:
        return False


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.stem}-", delete=False) as file:
            try:
                file.write(data)
                file.flush()
                os.fchmod(file.fileno(), 0o644)  # weights are no secret: other users may share the cache
                os.fsync(file.fileno())
                Path(file.name).replace(path)
            except BaseException:
                with contextlib.suppress(OSError):
                    Path(file.name).unlink()
                raise
    except OSError as error:
        raise ModelError(
            f"model cache: expected a writable folder, got {path.parent} ({error.strerror}); "
            "name another in ModelParameters.cache"
        ) from error
