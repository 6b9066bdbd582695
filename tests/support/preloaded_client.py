"""`fetchml` for a shell: it lets the process of `preloaded` fork, and ends as the fork does.

Run with the path of that process's socket and the arguments of `fetchml`, by a Python that imports
no more than this file does.
"""

import contextlib
import json
import os
import select
import signal
import socket
import sys
from types import FrameType

NUMBER_BYTES = 8
FORWARDED = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


def ask(control: socket.socket, request: object, descriptors: tuple[int, ...] = ()) -> int:
    text = json.dumps(request).encode()
    socket.send_fds(control, [len(text).to_bytes(NUMBER_BYTES)], descriptors)
    control.sendall(text)
    return int.from_bytes(control.recv(NUMBER_BYTES))


def main() -> None:
    address, *arguments = sys.argv[1:]
    control = socket.socket(socket.AF_UNIX)
    control.connect(address)
    request = {
        "arguments": arguments,
        "environment": dict(os.environ),
        "folder": os.getcwd(),  # noqa: PTH109 - pathlib takes as long as the rest
    }
    pid = ask(control, request, (0, 1, 2))
    if not pid:
        os.execv(sys.executable, [sys.executable, "-m", "fetchml", *arguments])  # noqa: S606

    def forward(number: int, _: FrameType | None) -> None:
        os.kill(pid, number)

    for number in FORWARDED:
        signal.signal(number, forward)
    select.select([os.pidfd_open(pid)], [], [])
    code = os.waitstatus_to_exitcode(ask(control, {"ended": pid}))
    if code < 0:
        with contextlib.suppress(OSError):  # Nobody handles SIGKILL.
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    main()
