"""`python -m tests.support.recorded_server serve …`: the server, recording the calls of one submit.

SIGUSR1 starts a record. It ends when the gate of a task is open, and is then written to the file
that CALLS_FILE names: each call with its nearest caller inside the package.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from fetchml.cli.main import main

PACKAGE = f"{Path(__file__).parents[2] / 'fetchml'}/"
GENERATED = f"{PACKAGE}v1/"
LAST = "AttemptFolder.open_gate"
DURABLE = "JournalWriter._announce"
INNER = ("listcomp", "dictcomp", "setcomp", "genexpr")


class Record:
    """The calls of functions of the package, in all threads. A comprehension or a generator
    expression is part of the function around it. Generated code is left out."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._running = False
        self._calls: list[tuple[str, str | None]] = []
        self._until_durable = 0

    def start(self, *_: object) -> None:
        self._calls = []
        self._until_durable = 0
        self._running = True

    def note(self, frame: FrameType, event: str, _: Any) -> None:
        if not self._running or (name := _name(frame.f_code)) is None:
            return
        if event == "call":
            self._calls.append((name, _caller(frame, name)))
            if name.endswith(f":{DURABLE}") and not self._until_durable:
                self._until_durable = len(self._calls)
        elif event == "return" and name.endswith(f":{LAST}"):
            self._running = False
            self._write()

    def _write(self) -> None:
        draft = self._file.with_suffix(".new")
        record = {"calls": self._calls, "until_durable": self._until_durable}
        draft.write_text(json.dumps(record))
        draft.replace(self._file)


def _name(code: CodeType) -> str | None:
    """`folder/file.py:Class.function`; `None` if it is no function of the package."""
    file = code.co_filename
    if not file.startswith(PACKAGE) or file.startswith(GENERATED):
        return None
    name = code.co_qualname
    for inner in INNER:
        name = name.replace(f".<locals>.<{inner}>", "")
    return None if name.startswith("<") else f"{file.removeprefix(PACKAGE)}:{name}"


def _caller(frame: FrameType, name: str) -> str | None:
    above = frame.f_back
    while above is not None:
        caller = _name(above.f_code)
        if caller is not None and caller != name:
            return caller
        above = above.f_back
    return None


if __name__ == "__main__":
    record = Record(Path(os.environ["CALLS_FILE"]))
    signal.signal(signal.SIGUSR1, record.start)
    threading.setprofile(record.note)
    sys.setprofile(record.note)
    main()
