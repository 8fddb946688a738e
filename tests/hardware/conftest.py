"""Which modules this machine can run: the libfprint device's needs the system's libfprint.

Whether that is here is asserted by test_libfprint.py, which always runs.
"""

from tests.hardware_emulators.rigs import fprint_is_here

collect_ignore = [] if fprint_is_here() else ["test_libfprint_device.py"]
