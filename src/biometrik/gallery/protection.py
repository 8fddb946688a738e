"""How templates are protected at rest: the seam where encryption sits."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Protection(Protocol):
    """Seals a template's bytes before they reach the disk and opens them again; thread-safe.

    ``context`` names the place that the bytes belong to (encounter and ordinal). A protection that authenticates binds
    it, so that a sealed template moved to another subject's record no longer opens.
    """

    def seal(self, data: bytes, context: bytes) -> bytes:
        """Return what may be written to disk."""
        ...

    def unseal(self, sealed: bytes, context: bytes) -> bytes:
        """Return the bytes that :meth:`seal` was given.

        Raises
        ------
        StoreDamagedError
            The bytes, or the place where they were found, are not those that were sealed.
        """
        ...


class NoProtection:
    """Stores templates as they are; their own checksum still tells damage.

    Examples
    --------
    >>> NoProtection().unseal(NoProtection().seal(b"template", b"place"), b"place")
    b'template'
    """

    def seal(self, data: bytes, context: bytes) -> bytes:  # noqa: ARG002
        """Return ``data``."""
        return data

    def unseal(self, sealed: bytes, context: bytes) -> bytes:  # noqa: ARG002
        """Return ``sealed``."""
        return sealed
