"""What can be wrong with a device.

::

    BiometrikError
    └── DeviceError                          a scanner or camera cannot do what was asked
        ├── DeviceNotFoundError (LookupError)   nothing of that name is plugged in
        ├── DeviceNotOpenError                  used before it was opened, or after it was closed
        ├── DeviceAccessError                   the operating system does not let this user have it
        ├── DeviceBusyError                     somebody else has it, or it is in the middle of something
        ├── LeaseLostError                      the lease ran out, was released, or was taken over
        ├── DeviceGoneError                     unplugged, switched off, or its line is broken
        ├── DeviceProtocolError                 it answered what its protocol does not allow
        ├── CaptureCancelledError               somebody cancelled the operation
        └── CaptureTimeoutError (TimeoutError)  the deadline passed

"Please try again" is not an error: see :class:`biometrik_hardware.outcomes.Retry`.
"""

from biometrik.errors import BiometrikError


class DeviceError(BiometrikError):
    """A scanner or camera cannot do what was asked."""

    reason = "DEVICE"


class DeviceNotFoundError(DeviceError, LookupError):
    """Nothing of that name is plugged in."""

    reason = "DEVICE_NOT_FOUND"


class DeviceNotOpenError(DeviceError):
    """The device was used before it was opened, or after it was closed."""

    reason = "DEVICE_NOT_OPEN"


class DeviceAccessError(DeviceError):
    """The operating system does not let this user have the device."""

    reason = "DEVICE_ACCESS"


class DeviceBusyError(DeviceError):
    """Somebody else has the device, or it is in the middle of something."""

    reason = "DEVICE_BUSY"


class LeaseLostError(DeviceError):
    """The lease ran out, was released, or was taken over."""

    reason = "LEASE_LOST"


class DeviceGoneError(DeviceError):
    """The device was unplugged or switched off, or its line is broken."""

    reason = "DEVICE_REMOVED"


class DeviceProtocolError(DeviceError):
    """The device answered what its protocol does not allow."""

    reason = "DEVICE_PROTOCOL"


class CaptureCancelledError(DeviceError):
    """Somebody cancelled the operation."""

    reason = "CAPTURE_CANCELLED"


class CaptureTimeoutError(DeviceError, TimeoutError):
    """The deadline passed before a sample came."""

    reason = "CAPTURE_TIMEOUT"
