"""Why an operation on a device ended without a result, in the house's words."""

import errno
from typing import Final

from biometrik_hardware.deadline import Deadline, Interruption
from biometrik_hardware.errors import (
    CaptureCancelledError,
    CaptureTimeoutError,
    DeviceAccessError,
    DeviceBusyError,
    DeviceError,
    DeviceGoneError,
    DeviceNotFoundError,
    DeviceNotOpenError,
    LeaseLostError,
)

_GONE: Final = frozenset(
    {errno.ENODEV, errno.ENXIO, errno.EIO, errno.EBADF, errno.EPIPE, errno.ENOENT, errno.ESHUTDOWN}
)
_REFUSED: Final = frozenset({errno.EACCES, errno.EPERM})
_TAKEN: Final = frozenset({errno.EBUSY, errno.EAGAIN})


def of_deadline(name: str, deadline: Deadline) -> DeviceError:
    """Return why an operation ended that was interrupted, or whose deadline is over.

    Parameters
    ----------
    name : str
        The device's id.
    deadline : Deadline
        Of the operation.
    """
    match deadline.interruption:
        case Interruption.CANCELLED:
            return CaptureCancelledError(f"{name}: cancelled")
        case Interruption.CLOSED:
            return DeviceNotOpenError(f"{name}: expected an open device, got one that was closed meanwhile")
        case Interruption.LEASE_LOST:
            return LeaseLostError(f"{name}: expected a lease in force, got one that was taken over")
        case None if deadline.of_lease:
            return LeaseLostError(f"{name}: expected a lease in force, got one that ran out; renew it in time")
        case None:
            return CaptureTimeoutError(f"{name}: expected an answer within {deadline.timeout_s:g} s, got none")


def of_system(name: str, error: OSError, *, opening: bool) -> DeviceError:
    """Return what an error of the operating system says of a device.

    Parameters
    ----------
    name : str
        The device's id.
    error : OSError
        As a hook raised it.
    opening : bool
        Whether the device was being opened.
    """
    number = error.errno
    if number in _REFUSED:
        return DeviceAccessError(
            f"{name}: expected access, got {error.strerror}; add the user to the group that owns the device file"
        )
    if opening and number in _TAKEN:
        return DeviceBusyError(f"{name}: expected a device that is free, got one that another program has open")
    if opening and number in _GONE:
        return DeviceNotFoundError(f"{name}: expected a device at this path, got none; plug it in")
    # Whatever else the system says of an open device, it can no longer be relied on: open it anew.
    reason = error.strerror or type(error).__name__
    return DeviceGoneError(f"{name}: expected a device that answers, got {reason}; plug it in and open it again")
