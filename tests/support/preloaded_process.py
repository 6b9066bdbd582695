"""A process that has imported FetchML, and forks for each request: the other end of `preloaded`.

Run as a script, with the descriptor of a socket as its argument. A request is its length and a JSON
object. `{"arguments": …, "environment": …, "folder": …}` comes with the descriptors of stdin,
stdout and stderr, and is answered with the pid of a fork that is `python -m fetchml ARGUMENTS`;
`{"ended": PID}` with the wait status of that fork. It ends with the other end of the socket.
"""

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import socket
import sys
from pathlib import Path
from typing import Any

import fetchml
from fetchml.system import failpoints

NUMBER_BYTES = 8
STREAMS = ("stdin", "stdout", "stderr")


def import_all() -> None:
    # As `fetchml.cli.main` does before it imports grpc.
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    for module in pkgutil.walk_packages(fetchml.__path__, "fetchml."):
        if module.name != "fetchml.__main__":
            with contextlib.suppress(ImportError):  # Of an optional library.
                importlib.import_module(module.name)
    # Nothing of it is garbage, and no fork looks for garbage in it.
    gc.collect()
    gc.freeze()


def received(control: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Return the next request and its descriptors; `None` if there will be no more."""
    head, descriptors, _, _ = socket.recv_fds(control, NUMBER_BYTES, len(STREAMS))
    if not head:
        return None
    length, text = int.from_bytes(head), b""
    while len(text) < length:
        text += control.recv(length - len(text))
    return json.loads(text), descriptors


def become(request: dict[str, Any], descriptors: list[int]) -> None:
    """Take the place of a new interpreter, up to its first line of Python."""
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    for number, (name, given) in enumerate(zip(STREAMS, descriptors, strict=True)):
        os.dup2(given, number)
        os.close(given)
        old = getattr(sys, name)
        new = open(  # noqa: SIM115 - for good
            number,
            "r" if number == 0 else "w",
            encoding=old.encoding,
            errors=old.errors,
            closefd=False,
        )
        if name == "stderr":
            new.reconfigure(line_buffering=True)
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)
    importlib.reload(failpoints)  # It reads the environment when it is imported.
    main = Path(fetchml.__path__[0]) / "__main__.py"
    sys.argv[:] = [str(main), *request["arguments"]]
    sys.path.insert(0, request["folder"])  # As `-m` does.


def fork_on_request(control: socket.socket) -> bool:
    """Return True in a fork; False when there will be no more."""
    while (found := received(control)) is not None:
        request, descriptors = found
        if (ended := request.get("ended")) is not None:
            answer = os.waitpid(ended, 0)[1]
        elif (answer := os.fork()) == 0:
            control.close()
            become(request, descriptors)
            return True
        for each in descriptors:
            os.close(each)
        control.sendall(answer.to_bytes(NUMBER_BYTES))
    return False


if __name__ == "__main__":
    import_all()
    if fork_on_request(socket.socket(fileno=int(sys.argv[1]))):
        runpy.run_module("fetchml", run_name="__main__", alter_sys=True)
