"""What is known of each file of weights before it is read: role, licence, digest, and how it is folded.

The manifest of the weights that biometrik knows is ``biometrik_models/manifest.toml``; a deployer's folder has a
``biometrik.toml`` with the same ``[[weights]]`` tables (:mod:`biometrik.packs`). The keys are explained on top of the
manifest.
"""

import hashlib
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final, TypeVar

from biometrik.errors import ModelError, ModelLicenceError, ModelNotFoundError

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_REWRITES: Final = ("free-batch", "free-size", "bgr-to-rgb", "leader")
_T = TypeVar("_T")


class Role(Enum):
    """What weights are for. Declared; a network's shape does not tell it."""

    FACE_DETECTOR = "face-detector"
    FACE_EMBEDDER = "face-embedder"
    MINUTIAE_EXTRACTOR = "minutiae-extractor"


class PReluForm(Enum):
    """How parametric rectifiers are written; the same function, but runtimes differ in speed."""

    NATIVE = "native"
    """As one PRelu: OpenVINO's faster form."""
    REWRITTEN = "rewritten"
    """As Relu, Mul and Add: ONNX Runtime's faster form."""


@dataclass(frozen=True, slots=True)
class Normalisation:
    """``(x − mean) / std`` put before the network.

    Parameters
    ----------
    mean, std : float
        In units of the input, 0..255; ``std`` is positive.
    unless_embedded : bool
        Leave it out where the graph begins with its own Sub and Mul, as InsightFace's loader does.

    Examples
    --------
    >>> str(Normalisation(127.5, 128.0))
    '(x - 127.5) / 128'
    """

    mean: float
    std: float
    unless_embedded: bool = False

    def __str__(self) -> str:
        return f"(x - {self.mean:g}) / {self.std:g}" + (", unless embedded" if self.unless_embedded else "")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What folding does beyond what it always does (dequantise weights, drop dropout and orphan inputs).

    Parameters
    ----------
    prelu : PReluForm
        How parametric rectifiers are written.
    free_batch, free_size : bool
        Make the batch, or height and width, variable where they were exported as constants.
    bgr_to_rgb : bool
        Permute the first convolution's input channels, so that the network takes RGB instead of BGR.
    normalisation : Normalisation or None
        Put before the network, so that it takes 0..255.
    transcription : str
        The network that is built anew from its weights instead, "" for none; ``leader`` is the only one
        (:mod:`biometrik.leader_graph`). Nothing else of the recipe applies to it.
    """

    prelu: PReluForm = PReluForm.REWRITTEN
    free_batch: bool = False
    free_size: bool = False
    bgr_to_rgb: bool = False
    normalisation: Normalisation | None = None
    transcription: str = field(default="", repr=False)

    @property
    def label(self) -> str:
        """Short name of the recipe, for file names."""
        if self.transcription:
            return self.transcription
        return f"{self.prelu.value}-{hashlib.sha256(repr(self).encode()).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True)
class Distribution:
    """A Python distribution, pinned, that carries weights.

    Parameters
    ----------
    name, version : str
        Which.
    required : bool
        Whether the library depends on it; one that is not may be absent, and what its weights are for is then too.
    """

    name: str
    version: str
    required: bool = True


@dataclass(frozen=True, slots=True)
class WeightsEntry:
    """What is declared of one file of weights; nothing of it is verified yet.

    Parameters
    ----------
    id : str
        Names the weights in contracts and caches.
    role : Role
        What they are for.
    file : str
        Relative path, with ``/``.
    place : Distribution or Path or None
        Carries the file: a distribution, or a folder. None for weights that a deployer may bring.
    sha256 : str
        Of the file, hexadecimal; "" where its maker declared none.
    size_bytes : int
        Of the file; 0 where unknown.
    licence, licence_note : str
        SPDX id or LicenseRef-, and what to know about it.
    source, card : str
        Where they were published; file name of the model card, "" for a deployer's own.
    recipe : Recipe
        How they are folded; the form of PRelu is chosen by the runtime.
    strides, anchors : tuple of int, int
        Rows of an SCRFD detector: the strides of its feature maps, finest first, and the anchors of a cell.
    """

    id: str
    role: Role
    file: str
    place: Distribution | Path | None
    sha256: str
    size_bytes: int
    licence: str
    licence_note: str
    source: str
    card: str
    recipe: Recipe
    strides: tuple[int, ...] = (8, 16, 32)
    anchors: int = 2


@dataclass(frozen=True, slots=True)
class Pack:
    """Weights that belong together, under the name that people know them by."""

    name: str
    entries: tuple[WeightsEntry, ...]

    def entry(self, role: Role) -> WeightsEntry:
        """Return the weights for a role.

        Raises
        ------
        ModelNotFoundError
            The pack has none.
        """
        for entry in self.entries:
            if entry.role is role:
                return entry
        raise ModelNotFoundError(f"pack {self.name}: expected weights for the role {role.value}, got none")


@dataclass(frozen=True, slots=True)
class Manifest:
    """All weights and packs that biometrik knows by name."""

    weights: tuple[WeightsEntry, ...]
    packs: tuple[Pack, ...]

    def entry(self, id: str) -> WeightsEntry:
        """Return known weights by id.

        Raises
        ------
        ModelNotFoundError
            The manifest has none of that id.
        """
        for entry in self.weights:
            if entry.id == id:
                return entry
        known = ", ".join(entry.id for entry in self.weights)
        raise ModelNotFoundError(f"weights: expected one of {known}, got {id!r}")


@cache
def manifest() -> Manifest:
    """Read the manifest that ships, once.

    Examples
    --------
    >>> manifest().entry("yunet-2023mar").licence
    'MIT'
    """
    text = resources.files("biometrik_models").joinpath("manifest.toml").read_text("utf-8")
    document = tomllib.loads(text)
    entries = {table["id"]: parse_weights(table, "manifest.toml") for table in document["weights"]}
    packs = [Pack(p["name"], (entries[p["detector"]], entries[p["embedder"]])) for p in document["packs"]]
    return Manifest(tuple(entries.values()), tuple(packs))


def _distribution(name: str, table: Mapping[str, Any], where: str) -> Distribution:
    return Distribution(name, table["distribution_version"], _value(table, "distribution_required", bool, True, where))


def parse_weights(table: Mapping[str, Any], where: str, *, pack: str = "", folder: Path | None = None) -> WeightsEntry:
    """Read one ``[[weights]]`` table.

    Parameters
    ----------
    table : mapping
        Of TOML values.
    where : str
        File name, for messages.
    pack : str
        Name of the pack, from which an id is made where the table has none.
    folder : Path or None
        Holds the file, where it is not in a distribution.

    Raises
    ------
    ModelLicenceError
        The table names no licence.
    ModelError
        A key is missing or has a value that is not allowed.
    """
    file = _value(table, "file", str, None, where)
    if not is_inside(file):
        raise ModelError(f"{where}: expected a relative path inside the folder as file, got {file!r}")
    where = f"{where}, {file}"
    if not table.get("licence"):
        raise ModelLicenceError(f"{where}: expected a licence (an SPDX id), got none")
    strides = _value(table, "strides", list, [8, 16, 32], where)
    anchors = _value(table, "anchors", int, 2, where)
    if not strides or not all(type(size) is int and 1 <= size <= 1024 for size in (*strides, anchors)):
        raise ModelError(f"{where}: expected strides and anchors in 1..1024, got {strides} and {anchors}")
    distribution = _value(table, "distribution", str, "", where)
    role = _role(table, where)
    return WeightsEntry(
        id=checked_id(_value(table, "id", str, f"{pack}-{Path(file).stem}", where), where),
        role=role,
        file=file,
        place=_distribution(distribution, table, where) if distribution else folder,
        sha256=checked_sha256(_value(table, "sha256", str, None, where), where),
        size_bytes=_value(table, "bytes", int, 0, where),
        licence=_value(table, "licence", str, None, where),
        licence_note=_value(table, "licence_note", str, "", where),
        source=_value(table, "source", str, None, where),
        card=_value(table, "card", str, "", where),
        recipe=_recipe(table, role, where),
        strides=tuple(strides),
        anchors=anchors,
    )


def default_normalisation(role: Role) -> Normalisation:
    """Return what InsightFace's loaders put before a network of this role."""
    if role is Role.FACE_DETECTOR:
        return Normalisation(127.5, 128.0)
    return Normalisation(127.5, 127.5, unless_embedded=True)


def is_inside(file: str) -> bool:
    """Tell whether a declared file name stays inside its folder.

    Examples
    --------
    >>> is_inside("nets/det.onnx"), is_inside("../det.onnx"), is_inside("/det.onnx")
    (True, False, False)
    """
    parts = file.split("/")
    return not ({"", ".", ".."} & set(parts)) and not {"\\", "\0", ":"} & set(file)


def checked_id(id: str, where: str) -> str:
    """Return an id that can stand in file names.

    Raises
    ------
    ModelError
        It has other characters than letters, digits, ``_``, ``.`` and ``-``, or more than 128.
    """
    if not _ID.fullmatch(id):
        raise ModelError(f"{where}: expected a name of letters, digits, _, . and -, got {id!r}")
    return id


def checked_sha256(digest: str, where: str) -> str:
    """Return a digest in lower case.

    Raises
    ------
    ModelError
        It is not 64 hexadecimal digits.
    """
    if not _SHA256.fullmatch(digest.lower()):
        raise ModelError(f"{where}: expected 64 hexadecimal digits as sha256, got {digest!r}")
    return digest.lower()


def mean_and_std(mean: float, std: float, where: str) -> Normalisation:
    """Return a declared normalisation.

    Raises
    ------
    ModelError
        A value is not finite, or ``std`` is not positive.
    """
    if not math.isfinite(mean) or not math.isfinite(std) or std <= 0:
        raise ModelError(f"{where}: expected a finite mean and a positive std, got {mean} and {std}")
    return Normalisation(float(mean), float(std))


def _role(table: Mapping[str, Any], where: str) -> Role:
    try:
        return Role(table.get("role"))
    except ValueError:
        *most, last = (role.value for role in Role)
        raise ModelError(f"{where}: expected {', '.join(most)} or {last} as role, got {table.get('role')!r}") from None


def _recipe(table: Mapping[str, Any], role: Role, where: str) -> Recipe:
    steps = _value(table, "rewrite", list, [], where)
    if unknown := [step for step in steps if step not in _REWRITES]:
        raise ModelError(f"{where}: expected {', '.join(_REWRITES)} as rewrite, got {unknown}")
    normalisation: Normalisation | None
    match table.get("normalise", "default"):
        case "none":
            normalisation = None
        case "default":
            normalisation = default_normalisation(role)
        case "auto":
            normalisation = Normalisation(127.5, 127.5, unless_embedded=True)
        case [int() | float() as mean, int() | float() as std]:
            normalisation = mean_and_std(mean, std, where)
        case other:
            raise ModelError(f"{where}: expected [mean, std], auto or none as normalise, got {other!r}")
    return Recipe(
        free_batch="free-batch" in steps,
        free_size="free-size" in steps,
        bgr_to_rgb="bgr-to-rgb" in steps,
        normalisation=normalisation,
        transcription="leader" if "leader" in steps else "",
    )


def _value(table: Mapping[str, Any], key: str, kind: type[_T], default: _T | None, where: str) -> _T:
    # None as default: the key is required, and not empty.
    value = table.get(key, default)
    if type(value) is not kind or (default is None and not value):
        raise ModelError(f"{where}: expected a {kind.__name__} as {key}, got {value!r}")
    return value
