"""A process that has imported FetchML, and forks for each request: the other end of `preloaded`.

Run as a script. Its arguments are the descriptors of a socket, on which it gets requests, and of
one at which others connect (`preloaded_client.py`). A request is its length and a JSON object.
`{"arguments": …, "environment": …, "folder": …}` comes with the descriptors of stdin, stdout and
stderr. It is answered with the pid of a fork that is `python -m fetchml ARGUMENTS`, or with 0 if
the environment has what only a new interpreter reads. `{"ended": PID}` is answered with the wait
status of that fork. The process ends with the other end of the first socket.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import socket
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fetchml
from fetchml.system import failpoints

NUMBER_BYTES = 8
STREAMS = ("stdin", "stdout", "stderr")
READ_BEFORE = ("GRPC_", "LANG", "LC_", "LD_", "MALLOC_", "OPENSSL_", "PYTHON", "SSL_", "TZ")
"""Beginnings of variables that are read when an interpreter starts or imports a library."""


def read_before(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name.startswith(READ_BEFORE)}


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


def fork_on_request(
    control: socket.socket, listener: socket.socket, variables: Mapping[str, str]
) -> bool:
    """Return True in a fork; False when there will be no more. `variables`: of `read_before`."""
    connections = {control, listener}
    while True:
        for each in select.select([*connections], [], [])[0]:
            if each is listener:
                connections.add(listener.accept()[0])
                continue
            if (found := received(each)) is None:
                if each is control:
                    return False
                connections.remove(each)
                each.close()
                continue
            request, descriptors = found
            if (ended := request.get("ended")) is not None:
                answer = os.waitpid(ended, 0)[1]
            elif read_before(request["environment"]) != variables:
                answer = 0
            elif (answer := os.fork()) == 0:
                for connection in connections:
                    connection.close()
                become(request, descriptors)
                return True
            for descriptor in descriptors:
                os.close(descriptor)
            each.sendall(answer.to_bytes(NUMBER_BYTES))


def end(code: int) -> None:
    """End the process as an interpreter does, but for freeing all that it has imported: that would
    copy the memory shared with the process that forks, and takes longer than most commands."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError, ValueError):  # The interpreter reports it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    variables = read_before(os.environ)
    import_all()
    control, listener = (socket.socket(fileno=int(each)) for each in sys.argv[1:])
    if fork_on_request(control, listener, variables):
        try:
            runpy.run_module("fetchml", run_name="__main__", alter_sys=True)
        except SystemExit as over:
            if isinstance(over.code, int):
                end(over.code)
            raise


if __name__ == "__main__":
    main()
