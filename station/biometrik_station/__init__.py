"""The station: DeviceService where cameras and scanners are.

::

    counter ──biometrik.client──▶ gRPC ──▶ DeviceService ──▶ Rack ──▶ device
                                               └──▶ guiding: Attempt ◀── Assessor (models)

A station has devices and models, no gallery: what it captures goes to the caller and is kept nowhere.
"""
