"""The line between namespaces: late, slow, lossy and bounded as it says, and real TCP gets through it."""

import errno
import random
import socket
import threading
from contextlib import ExitStack

from tests.soak.namespaces import Namespace, PacketLine, _Way

_PACKET = b"\x45" + bytes(999)


def test_a_packet_takes_its_time_on_the_line_and_then_the_delay() -> None:
    way = _Way(random.Random(0), bytes_per_s=1000.0, one_way_s=2.0, loss=0.0, queue_s=60.0)
    for _ in range(3):
        way.take(_PACKET, 10.0)
    assert way.next_at == 13.0
    assert way.arrived(12.9) == []
    assert [len(way.arrived(at)) for at in (13.0, 13.9, 15.0)] == [1, 0, 2]


def test_a_share_is_lost_after_it_took_its_time() -> None:
    way = _Way(random.Random(0), bytes_per_s=1e6, one_way_s=0.0, loss=0.05, queue_s=60.0)
    for _ in range(10_000):
        way.take(_PACKET, 0.0)
    assert 400 < way.lost < 600
    assert way.dropped == 0
    assert len(way.arrived(10.1)) == 10_000 - way.lost


def test_what_would_wait_too_long_is_dropped_and_other_protocols_are_not_carried() -> None:
    way = _Way(random.Random(0), bytes_per_s=1000.0, one_way_s=0.0, loss=0.0, queue_s=2.0)
    for _ in range(10):
        way.take(_PACKET, 0.0)
    way.take(b"\x60" + bytes(99), 0.0)
    assert (way.offered, way.dropped) == (10, 7)


def test_tcp_gets_every_byte_through_a_lossy_line_or_the_system_says_that_it_allows_none() -> None:
    data = random.Random(3).randbytes(60_000)
    with ExitStack() as stack:
        try:
            near, far = stack.enter_context(Namespace()), stack.enter_context(Namespace())
            line = PacketLine(
                near,
                far,
                name="test",
                subnet="10.64.9",
                rng=random.Random(3),
                bytes_per_s=1e7,
                one_way_s=0.001,
                loss=0.02,
                queue_s=1.0,
            )
            stack.enter_context(line)
        except OSError as error:
            assert error.errno in (errno.EPERM, errno.EACCES, errno.ENOENT, errno.ENODEV)  # noqa: PT017
            return
        service = stack.enter_context(far.call(lambda: socket.create_server((line.far_address, 0))))
        service.settimeout(30)
        port = service.getsockname()[1]

        def echo() -> None:
            other, _ = service.accept()
            with other:
                while piece := other.recv(4096):
                    other.sendall(piece)

        answering = threading.Thread(target=echo)
        answering.start()
        back = b""
        with near.call(lambda: socket.create_connection((line.far_address, port), timeout=30)) as client:
            sending = threading.Thread(target=client.sendall, args=(data,))
            sending.start()
            while len(back) < len(data) and (piece := client.recv(4096)):
                back += piece
            sending.join()
        answering.join()
        assert back == data
        assert line.packets > 2 * 60_000 / 1500
        assert line.lost > 0
