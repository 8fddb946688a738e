"""The station's configuration: a TOML file, checked as a whole before anything starts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from biometrik.errors import InvalidInputError
from biometrik_hardware.events import DeviceKind
from biometrik_server.config import Engine, HostConfig
from biometrik_station.spool import Spool

#: First word of a device's id on a station.
KIND_WORDS: Final[Mapping[DeviceKind, str]] = {
    DeviceKind.CAMERA: "camera",
    DeviceKind.FINGERPRINT_SCANNER: "scanner",
}


def parse_device_id(device_id: str) -> tuple[DeviceKind, str, str]:
    """Return what a device is, its driver and its path.

    Raises
    ------
    InvalidInputError
        Not ``camera:driver:path`` or ``scanner:driver:path``.

    Examples
    --------
    >>> parse_device_id("scanner:zfm:/dev/ttyUSB0")
    (<DeviceKind.FINGERPRINT_SCANNER: 'FINGERPRINT_SCANNER'>, 'zfm', '/dev/ttyUSB0')
    """
    word, _, rest = device_id.partition(":")
    driver, _, path = rest.partition(":")
    kind = next((kind for kind, known in KIND_WORDS.items() if known == word), None)
    if kind is None or not driver or not path or not device_id.isprintable() or len(device_id) > 512:
        raise InvalidInputError("device: expected camera:driver:path or scanner:driver:path, got something else")
    return kind, driver, path


class DeviceEntry(BaseModel):
    """A device that is named, because it cannot be discovered, or is virtual."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    """``camera:driver:path`` or ``scanner:driver:path``."""
    shows: Path | None = None
    """Of a virtual device: the folder of pictures, or of prints with the position in their names, that it shows."""
    fps: Annotated[float, Field(gt=0, le=120)] = 30.0
    """Of a virtual camera."""
    approach_s: Annotated[float, Field(ge=0, le=60)] = 0.8
    """Of a virtual scanner: until the finger is there."""
    options: Mapping[str, Any] = {}
    """The driver's own."""

    @model_validator(mode="after")
    def _is_a_device(self) -> Self:
        driver = parse_device_id(self.id)[1]
        if (driver == "virtual") != (self.shows is not None):
            raise ValueError(f"{self.id}: expected a folder that it shows for a virtual device, and none for another")
        return self


class StationEngine(Engine):
    """Models and runtime. A station takes portraits, and one frame at a time on one thread."""

    quality_profile: str = "portrait"
    threads: int = 1


class SpoolSettings(BaseModel):
    """Where enrolments are kept while the service is away."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Path
    """Made for its owner only if it is not there."""
    key: Path
    """File with the key, readable by its owner only: 64 hexadecimal digits. Not in ``folder``."""
    max_entries: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """What is kept at once, entries set aside included: twenty days of 500 people."""
    max_bytes: Annotated[int, Field(ge=1 << 20)] = 4 << 30
    """The same in bytes: 10,000 enrolments of ten fingers and a face are 2.3 GB."""

    def open(self) -> Spool:
        """Return it; raises as :class:`Spool`."""
        return Spool(self.folder, self.key, max_entries=self.max_entries, max_bytes=self.max_bytes)


class StationConfig(HostConfig):
    """All settings of a station."""

    listen: Annotated[str, Field(min_length=1)] = "127.0.0.1:50052"
    engine: StationEngine = StationEngine()
    devices: tuple[DeviceEntry, ...] = ()
    discover: bool = True
    """Whether devices that are plugged in are found by themselves."""
    portrait: bool = True
    """Whether of a camera's wide picture the middle is used, as wide as a document's photograph is for its height."""
    compact: bool = True
    """Whether samples are cut to what is compared and sent in few bytes, see :func:`biometrik.transport.compact`."""

    spool: SpoolSettings | None = None
    """Where enrolments are kept while the service is away; None keeps none."""

    @model_validator(mode="after")
    def _names_each_device_once(self) -> Self:
        names = [entry.id for entry in self.devices]
        if len(set(names)) != len(names):
            raise ValueError("devices: expected each once")
        return self
