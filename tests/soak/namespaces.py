"""Network namespaces of this machine, and lines between them that are slow, late and lossy: real TCP, real packets.

A line is a pair of TUN interfaces, one in each namespace, and a thread that carries IP packets from one to the other as
a bad radio link does. Linux only; it needs the right to make namespaces and interfaces (root, or CAP_SYS_ADMIN and
CAP_NET_ADMIN), and ``/dev/net/tun``: making one raises OSError where that is refused.
"""

import ctypes
import fcntl
import os
import random
import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

T = TypeVar("T")

# From linux/sched.h, linux/if_tun.h, linux/sockios.h and linux/if.h.
_CLONE_NEWNET: Final = 0x4000_0000
_TUNSETIFF: Final = 0x4004_54CA
_TUN_WITHOUT_HEADER: Final = 0x0001 | 0x1000
_SET_FLAGS, _SET_ADDRESS, _SET_MASK = 0x8914, 0x8916, 0x891C
_UP: Final = 0x0001 | 0x0040

_TUN: Final = Path("/dev/net/tun")
#: Of each namespace: Reno, which every kernel has, and as which Cubic, most systems' own, behaves while windows are few
#: segments wide (RFC 9438, 4.3). It suffers more from losses than BBR.
_CONGESTION_CONTROL: Final = Path("/proc/sys/net/ipv4/tcp_congestion_control")
#: Longest packet that is read: an interface's usual 1500 bytes and to spare.
_MAX_PACKET: Final = 4096
#: How often a line that has nothing to carry looks whether it has ended, milliseconds.
_LOOK_MS: Final = 50


class Namespace:
    """A network of its own; use it as a context manager. It lives until it is left and no process is in it.

    Raises
    ------
    OSError
        This user may not make one.
    """

    def __enter__(self) -> Self:
        # One thread moves into it and stays there: what it starts, processes and sockets, is inside.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="namespace")
        try:
            self.call(self._begin)
        except BaseException:
            self._thread.shutdown()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown()

    def call(self, function: Callable[[], T]) -> T:
        """Return what a function returns that runs inside; processes that it starts stay inside."""
        return self._thread.submit(function).result()

    @staticmethod
    def _begin() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(_CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        _CONGESTION_CONTROL.write_text("reno", "ascii")
        _configure("lo", _SET_FLAGS, struct.pack("H", _UP))


class PacketLine:
    """A line between two namespaces; use it as a context manager.

    Parameters
    ----------
    near, far : Namespace
        Its ends.
    name : str
        Of the interface at both ends.
    subnet : str
        The first three numbers of its addresses; ``.1`` is near, ``.2`` is far.
    rng : random.Random
        What is lost.
    bytes_per_s, one_way_s, loss : float
        Of the line, each way. The rate counts whole IP packets.
    queue_s : float
        For how long a packet may wait for those before it; one that would wait longer is dropped, as by a router.
    """

    def __init__(
        self,
        near: Namespace,
        far: Namespace,
        *,
        name: str,
        subnet: str,
        rng: random.Random,
        bytes_per_s: float,
        one_way_s: float,
        loss: float,
        queue_s: float,
    ) -> None:
        self._ends = near, far
        self.name = name
        self.near_address, self.far_address = f"{subnet}.1", f"{subnet}.2"
        self._there = _Way(rng, bytes_per_s, one_way_s, loss, queue_s)
        self._back = _Way(rng, bytes_per_s, one_way_s, loss, queue_s)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._carry, name=f"line {name}")

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            addresses = self.near_address, self.far_address
            self._tuns = []
            for end, address in zip(self._ends, addresses, strict=True):
                self._tuns.append(end.call(lambda address=address: _tun(self.name, address)))  # type: ignore[misc]
                stack.callback(os.close, self._tuns[-1])
            self._closing = stack.pop_all()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._closing.close()

    @property
    def packets(self) -> int:
        """Offered to it, both ways."""
        return self._there.offered + self._back.offered

    @property
    def lost(self) -> int:
        """Of these, lost on the way."""
        return self._there.lost + self._back.lost

    @property
    def dropped(self) -> int:
        """Of these, dropped because too much waited."""
        return self._there.dropped + self._back.dropped

    def _carry(self) -> None:
        near, far = self._tuns
        ways = ((near, far, self._there), (far, near, self._back))
        poll = select.poll()
        for tun in self._tuns:
            poll.register(tun, select.POLLIN)
        while not self._ended.is_set():
            now = time.monotonic()
            waits_s = min((way.next_at - now for _, _, way in ways), default=0.0)
            poll.poll(max(0.0, min(_LOOK_MS, 1000 * waits_s)))
            for source, sink, way in ways:
                with suppress(BlockingIOError):
                    while True:
                        way.take(os.read(source, _MAX_PACKET), time.monotonic())
                for packet in way.arrived(time.monotonic()):
                    with suppress(BlockingIOError):
                        os.write(sink, packet)


def carried_bytes(interface: str) -> int:
    """Return how much went through an interface of this process' namespace, both ways."""
    for line in Path("/proc/self/net/dev").read_text("ascii").splitlines():
        name, _, counts = line.partition(":")
        if name.strip() == interface:
            received, sent = counts.split()[0], counts.split()[8]
            return int(received) + int(sent)
    return 0


class _Way:
    # One direction of a line.
    def __init__(self, rng: random.Random, bytes_per_s: float, one_way_s: float, loss: float, queue_s: float) -> None:
        self._rng, self._bytes_per_s, self._one_way_s, self._loss = rng, bytes_per_s, one_way_s, loss
        self._queue_s = queue_s
        self._free_at = 0.0
        self._under_way: deque[tuple[float, bytes]] = deque()
        self.offered = self.lost = self.dropped = 0

    @property
    def next_at(self) -> float:
        return self._under_way[0][0] if self._under_way else float("inf")

    def take(self, packet: bytes, now: float) -> None:
        if packet[0] >> 4 != 4:
            return  # the system's own IPv6 greetings
        self.offered += 1
        if self._free_at - now > self._queue_s:
            self.dropped += 1
            return
        self._free_at = max(self._free_at, now) + len(packet) / self._bytes_per_s
        if self._rng.random() < self._loss:
            self.lost += 1
            return
        self._under_way.append((self._free_at + self._one_way_s, packet))

    def arrived(self, now: float) -> list[bytes]:
        packets = []
        while self.next_at <= now:
            packets.append(self._under_way.popleft()[1])
        return packets


def _tun(name: str, address: str) -> int:
    # A new interface of the namespace of this thread, up; its file gives and takes IP packets.
    tun = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH14x", name.encode(), _TUN_WITHOUT_HEADER))
        for order, value in ((_SET_ADDRESS, address), (_SET_MASK, "255.255.255.0")):
            _configure(name, order, struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(value)))
        _configure(name, _SET_FLAGS, struct.pack("H", _UP))
    except BaseException:
        os.close(tun)
        raise
    return tun


def _configure(interface: str, order: int, value: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, order, struct.pack("16s24s", interface.encode(), value))
