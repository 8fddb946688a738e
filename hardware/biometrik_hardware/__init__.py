"""The hardware abstraction layer: fingerprint scanners and cameras behind one device model.

::

    application ──▶ FingerprintScanner.capture · Camera.read ──▶ Device: state, lease, deadline, events ──▶ driver hooks

An application calls the final methods of the base classes; a driver writes the hooks that start with an underscore.
Drivers are found by name: :data:`biometrik_hardware.fingerprint.scanner.SCANNERS` and
:data:`biometrik_hardware.camera.camera.CAMERAS`. ``docs/drivers.md`` says how to write one.
"""
