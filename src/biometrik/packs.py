"""Packs that a deployer brings: a folder with a detector and an embedder.

What the files are is declared, in this order:

1. ``biometrik.toml``: ``name`` and one ``[[weights]]`` table a file, with the keys of
   ``biometrik_models/manifest.toml`` (``role``, ``file``, ``sha256``, ``licence`` and ``source`` are required)::

       name = "office"

       [[weights]]
       role = "face-embedder"
       file = "net.onnx"
       sha256 = "4ab1d6435d639628a6f3e5008dd4f929edf4c4124b1a7169e1048f9fef534cdf"
       licence = "Apache-2.0"
       source = "https://example.org/net"
       normalise = [127.5, 127.5]

2. ``manifest.json``, version 2 of InsightFace's package manifests, with its ``MODEL.LICENSE``;
3. the file names and sizes of InsightFace packs that the manifest knows.
"""

import hashlib
import io
import json
import re
import tempfile
import tomllib
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from biometrik.errors import InvalidInputError, ModelError, ModelIntegrityError, ModelLicenceError, ModelNotFoundError
from biometrik.manifest import (
    Normalisation,
    Pack,
    Recipe,
    Role,
    WeightsEntry,
    checked_id,
    checked_sha256,
    default_normalisation,
    is_inside,
    manifest,
    mean_and_std,
    parse_weights,
)

DECLARATION: Final = "biometrik.toml"
_INSIGHTFACE_MANIFEST: Final = "manifest.json"
_INSIGHTFACE_ROLES: Final = {"detection": Role.FACE_DETECTOR, "recognition": Role.FACE_EMBEDDER}
_INSIGHTFACE_SOURCE: Final = "https://github.com/deepinsight/insightface"
_MAX_TEXT_BYTES: Final = 1 << 20


def read(folder: Path) -> Pack:
    """Return what a folder declares of its weights; reads no weights.

    Raises
    ------
    ModelNotFoundError
        The folder does not exist.
    ModelLicenceError
        It records no licence for its weights, or one that is not in force.
    ModelIntegrityError
        A file has the name of a known one, but another size.
    ModelError
        Its declaration is damaged.
    """
    if not folder.is_dir():
        raise ModelNotFoundError(f"pack: expected a folder, got {folder}")
    if (folder / DECLARATION).is_file():
        return _declared(folder)
    if (folder / _INSIGHTFACE_MANIFEST).is_file():
        return _insightface(folder)
    return _known(folder)


def pull(name: str, folder: Path) -> Pack:
    """Download a pack through the ``insightface`` package's own loader.

    The loader checks no digest. Here the files of known packs are compared with the manifest's, those of others are
    recorded as they came, and from then on every load checks them. Only the detector and the embedder are kept.

    Parameters
    ----------
    name : str
        ``buffalo_l``, ``buffalo_s``, ``antelopev2`` or a newer one with a package manifest.
    folder : Path
        Receives the files and a ``biometrik.toml``; created if missing.

    Returns
    -------
    Pack
        As :func:`read` reads it from now on.

    Raises
    ------
    InvalidInputError
        ``name`` cannot be a pack's.
    ModelLicenceError
        The pack came without a licence that could be recorded; nothing is kept.
    ModelIntegrityError
        A file is not the one that the manifest knows; nothing is kept.
    ModelError
        The package is missing, this machine is offline, or the folder is taken or cannot be written.

    Notes
    -----
    The loader prints; while it runs, the process' ``stdout`` and ``stderr`` are held back.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name):
        raise InvalidInputError(f"pack: expected a name such as buffalo_l, got {name!r}")
    if (folder / DECLARATION).exists():
        raise ModelError(f"pack {name}: expected a folder without a {DECLARATION}, got {folder}; name a new one")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".pull-", dir=folder) as download:
            came = read(_download(name, Path(download)))
            verified = Pack(came.name, tuple(_measured(entry) for entry in came.entries))
            for entry in verified.entries:
                (folder / entry.file).parent.mkdir(parents=True, exist_ok=True)
                (Path(str(entry.place)) / entry.file).replace(folder / entry.file)
        (folder / DECLARATION).write_text(_declaration(verified), "utf-8")
    except OSError as error:
        raise ModelError(f"pack {name}: expected a writable folder, got {folder} ({error.strerror})") from error
    return read(folder)


def _download(name: str, root: Path) -> Path:
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        try:
            from insightface.utils.storage import ensure_available
        except ImportError as error:
            raise ModelError(
                f"pack {name}: expected the package insightface and what it imports, got {error}; pip install "
                "--no-deps insightface, then requests, tqdm, scipy and scikit-image"
            ) from error
        try:
            ensure_available("models", name, root=str(root))
        except Exception as error:  # whatever requests, zipfile or the loader raise
            raise ModelError(f"pack {name}: expected a download, got {type(error).__name__}: {error}") from error
    pack = root / "models" / name
    return pack / name if (pack / name).is_dir() else pack  # some archives hold a folder of their own name


def _measured(entry: WeightsEntry) -> WeightsEntry:
    path = Path(str(entry.place)) / entry.file
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if entry.sha256 not in ("", sha256):
        raise ModelIntegrityError(f"weights {entry.id}: expected sha256 {entry.sha256}, got {sha256} as download")
    return replace(entry, sha256=sha256, size_bytes=path.stat().st_size)


def _declaration(pack: Pack) -> str:
    # JSON's strings, numbers and lists are TOML's.
    lines = [f"name = {json.dumps(pack.name)}"]
    for entry in pack.entries:
        normalisation = entry.recipe.normalisation
        if normalisation is None:
            normalise: str | list[float] = "none"
        elif normalisation.unless_embedded:
            normalise = "auto"
        else:
            normalise = [normalisation.mean, normalisation.std]
        values = {
            "id": entry.id,
            "role": entry.role.value,
            "file": entry.file,
            "sha256": entry.sha256,
            "bytes": entry.size_bytes,
            "licence": entry.licence,
            "licence_note": entry.licence_note,
            "source": entry.source,
            "normalise": normalise,
            "strides": entry.strides,
            "anchors": entry.anchors,
        }
        lines += ["", "[[weights]]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    return "\n".join(lines) + "\n"


def _declared(folder: Path) -> Pack:
    where = DECLARATION
    try:
        document = tomllib.loads(_text(folder / DECLARATION))
    except tomllib.TOMLDecodeError as error:
        raise ModelError(f"{where}: expected TOML, got {error}") from error
    name, tables = checked_id(str(document.get("name", "")), where), document.get("weights")
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ModelError(f"{where}: expected [[weights]] tables, got {type(tables).__name__}")
    entries = tuple(parse_weights(table, where, pack=name, folder=folder) for table in tables)
    if len({entry.role for entry in entries}) != len(entries):
        raise ModelError(f"{where}: expected one file a role, got {[entry.role.value for entry in entries]}")
    return Pack(name, entries)


def _insightface(folder: Path) -> Pack:
    # Their schema is insightface.model_zoo.package_manifest; only detection and recognition concern us.
    document = _json(folder / _INSIGHTFACE_MANIFEST)
    if document.get("manifest_version") != 2:
        version = document.get("manifest_version")
        raise ModelError(
            f"{_INSIGHTFACE_MANIFEST}: expected manifest_version 2, got {version!r}; write a {DECLARATION}"
        )
    name = checked_id(str(document.get("model_id", "")), f"{_INSIGHTFACE_MANIFEST}, model_id")
    tasks = document.get("tasks")
    if not isinstance(tasks, Mapping):
        raise ModelError(f"{_INSIGHTFACE_MANIFEST}: expected tasks, got {type(tasks).__name__}")
    licence, note = _insightface_licence(folder, document.get("license"), name)
    entries = []
    for task, role in _INSIGHTFACE_ROLES.items():
        if task in tasks:
            entries.append(_insightface_entry(folder, name, task, role, tasks[task], licence, note))
    return Pack(name, tuple(entries))


def _insightface_entry(
    folder: Path, name: str, task: str, role: Role, declared: Any, licence: str, note: str
) -> WeightsEntry:
    where = f"{_INSIGHTFACE_MANIFEST}, tasks.{task}"
    file = declared.get("file") if isinstance(declared, Mapping) else None
    if not isinstance(file, str) or not is_inside(file):
        raise ModelError(f"{where}: expected a relative path inside the folder as file, got {file!r}")
    sha256 = declared.get("sha256")
    normalisation: Normalisation | None
    match declared.get("preprocessing", "default"):
        case "embedded":
            normalisation = None
        case "default":
            normalisation = replace(default_normalisation(role), unless_embedded=False)
        case {"mean": int() | float() as mean, "std": int() | float() as std}:
            normalisation = mean_and_std(mean, std, where)
        case other:
            raise ModelError(f"{where}: expected embedded or mean and std as preprocessing, got {other!r}")
    return WeightsEntry(
        id=f"{name}-{task}",
        role=role,
        file=file,
        place=folder,
        sha256="" if sha256 is None else checked_sha256(str(sha256), where),
        size_bytes=0,
        licence=licence,
        licence_note=note,
        source=_INSIGHTFACE_SOURCE,
        card="",
        recipe=Recipe(normalisation=normalisation),
    )


def _insightface_licence(folder: Path, file: Any, name: str) -> tuple[str, str]:
    if not isinstance(file, str) or not is_inside(file) or not (folder / file).is_file():
        raise ModelLicenceError(f"pack {name}: expected a MODEL.LICENSE, got none; declare a licence in {DECLARATION}")
    document = _json(folder / file)
    grant = document.get("grant")
    if document.get("model_id") != name or grant not in ("commercial", "non-commercial"):
        raise ModelLicenceError(
            f"pack {name}: expected a MODEL.LICENSE that grants commercial or non-commercial use of {name}, "
            f"got {grant!r} for {document.get('model_id')!r}"
        )
    now = datetime.now(UTC)
    begins, ends = _time(document.get("valid_from"), now), _time(document.get("valid_until"), now)
    if not begins <= now <= ends:
        raise ModelLicenceError(f"pack {name}: expected a MODEL.LICENSE in force, got one from {begins} to {ends}")
    suffix = "Commercial" if grant == "commercial" else "NonCommercial"
    note = f"InsightFace MODEL.LICENSE {document.get('license_id')}: {grant}; its signature is not checked here."
    return f"LicenseRef-InsightFace-{suffix}", note


def _known(folder: Path) -> Pack:
    named = [p for p in manifest().packs if all((folder / e.file).is_file() for e in p.entries)]
    for pack in named:
        if all((folder / entry.file).stat().st_size == entry.size_bytes for entry in pack.entries):
            return Pack(pack.name, tuple(replace(entry, place=folder) for entry in pack.entries))
    if named:
        raise ModelIntegrityError(
            f"pack {folder}: expected the files of {' or '.join(p.name for p in named)}, got others of these names; "
            f"declare them in a {DECLARATION}"
        )
    raise ModelLicenceError(
        f"pack {folder}: expected a {DECLARATION} with role, licence and sha256 of each file, or a known InsightFace "
        f"pack ({', '.join(p.name for p in manifest().packs)}), got neither"
    )


def _time(text: Any, default: datetime) -> datetime:
    if text is None:
        return default
    try:
        time = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise ModelLicenceError(f"MODEL.LICENSE: expected an RFC 3339 time, got {text!r}") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(_text(path))
    except ValueError as error:
        raise ModelError(f"{path.name}: expected JSON, got {error}") from error
    if not isinstance(document, dict):
        raise ModelError(f"{path.name}: expected a JSON object, got {type(document).__name__}")
    return document


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_TEXT_BYTES + 1)
    except OSError as error:
        raise ModelError(f"{path.name}: expected a readable file, got {error.strerror}") from error
    if len(data) > _MAX_TEXT_BYTES:
        raise ModelError(f"{path.name}: expected at most {_MAX_TEXT_BYTES} bytes, got more")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelError(f"{path.name}: expected UTF-8, got {error.reason}") from error
