"""Threads that compute give way to those that answer."""

import os
import sys
import threading
from typing import Final

#: Of 19 steps of niceness. With it refusals stay immediate at three times what a machine can do, and accepted calls
#: keep nearly all of the processor; without a rush of calls it changes nothing.
_NICENESS: Final = 10


def give_way() -> None:
    """Lower the calling thread's priority, and that of threads that it starts from now on.

    Only on Linux, where a thread has a priority of its own; elsewhere nothing happens.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
