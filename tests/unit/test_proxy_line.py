"""The proxy that stands for a weak line hands on every byte, in order, whatever it loses on the way."""

import random
import socket
import threading

from tests.soak.proxy_line import ProxyLine


def test_every_byte_arrives_in_order_both_ways() -> None:
    data = random.Random(3).randbytes(60_000)
    with socket.create_server(("127.0.0.1", 0)) as service:

        def echo() -> None:
            line, _ = service.accept()
            with line:
                while piece := line.recv(4096):
                    line.sendall(piece)

        answering = threading.Thread(target=echo)
        answering.start()
        target = f"127.0.0.1:{service.getsockname()[1]}"
        with ProxyLine(target, random.Random(3), bytes_per_s=4e6, one_way_s=0.002, loss=0.3) as weak:
            host, port = weak.address.split(":")
            with socket.create_connection((host, int(port)), timeout=20) as near:
                sending = threading.Thread(target=near.sendall, args=(data,))
                sending.start()
                back = b""
                while len(back) < len(data) and (piece := near.recv(4096)):
                    back += piece
                sending.join()
            assert back == data
            assert weak.carried_bytes == 2 * len(data)
        answering.join()
