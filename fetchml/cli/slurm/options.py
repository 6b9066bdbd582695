"""The options of Slurm's sbatch, and the fields of a task that they become.

docs/cluster.md has the same table for users; a test compares them.
"""

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from fetchml.cli.slurm import times
from fetchml.cli.slurm.arrays import Array, BadArray, array
from fetchml.v1.task_pb2 import Dependency

GIB_OF = {"K": 1 / (1 << 20), "M": 1 / 1024, "G": 1, "T": 1024}
_MOST = 1 << 31
_CONDITIONS = {
    "afterok": Dependency.completed,
    "afternotok": Dependency.failed,
    "afterany": Dependency.ended,
}
_SIGNAL = re.compile(r"(?:[RB]{1,2}:)?(?:SIG)?(?:USR1|10)(?:@(\d{1,9}))?", re.ASCII | re.IGNORECASE)
_SIGNAL_SECONDS = 60
"""Slurm's default if `--signal` has no time."""


class BadOption(Exception):
    """The message is for users. It does not name the option."""


@dataclass
class Request:
    """The task that the options request."""

    fields: dict[str, Any] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    slurm: dict[str, str] = field(default_factory=dict)
    """Options that only a cluster has, by their names in the field `slurm`."""
    memory_per_cpu: float = 0.0
    memory_per_gpu: float = 0.0
    array: Array | None = None
    folder: str | None = None
    wrap: str | None = None
    waits: bool = False
    validates: bool = False

    def finish(self) -> None:
        """Set the fields that depend on several options. Raises BadOption."""
        if self.array is not None and self.waits:
            raise BadOption("--wait can't follow an array: use fetchml sweep show @last")
        memory = self.memory_per_cpu * self.fields.get("cpu", 1)
        memory += self.memory_per_gpu * self.fields.get("gpu", 0)
        if memory and "memory_gb" not in self.fields:
            self.fields["memory_gb"] = _whole_gib(memory)


Action = Callable[[Request, str], None]


def gib(text: str) -> float:
    """Convert an amount of memory, in MB without a unit. Raises BadOption."""
    match = re.fullmatch(r"(\d{1,12})([KMGT]?)B?", text.upper(), re.ASCII)
    if not match or not int(match[1]):
        raise BadOption(f"{text!r} is not an amount of memory such as 4000M or 32G")
    return int(match[1]) * GIB_OF[match[2] or "M"]


def gpus(text: str) -> int:
    """Count the GPUs in `2`, `a100:2`, or `gpu:a100:2`. Raises BadOption."""
    total = 0
    for entry in text.split(","):
        parts = entry.removeprefix("gres/").split(":")
        if parts[0] == "none":
            continue
        number = parts[-1] if parts[-1].isascii() and parts[-1].isdecimal() else "1"
        total += int(number[:6])
    return total


def _gres(request: Request, text: str) -> None:
    for entry in text.replace("gres/", "").split(","):
        if entry and not entry.startswith("gpu"):
            raise BadOption(f"{entry!r} is not a GPU; tasks can request only GPUs")
        if entry.count(":") > 1:
            instead = f"fetchml submit --gpu {gpus(entry)} --slurm gres={entry}"
            raise BadOption(f"{entry!r} names a type of GPU; use '{instead}'")
    request.fields["gpu"] = gpus(text)


def _whole_gib(amount: float) -> int:
    return _in_range(math.ceil(amount - 1e-9))


def _memory(text: str) -> int:
    return _whole_gib(gib(text))


def _in_range(number: int) -> int:
    if number >= _MOST:
        raise BadOption(f"{number} is too large")
    return number


def _number(text: str) -> int:
    if not re.fullmatch(r"\d{1,10}", text, re.ASCII):
        raise BadOption(f"{text!r} is not a number")
    return _in_range(int(text))


def _one(request: Request, text: str) -> None:
    if text not in ("1", "1-1"):
        raise BadOption("a task is one process on one node; use --cpus-per-task for more cores")


def _set(name: str, convert: Callable[[str], object]) -> Action:
    def action(request: Request, text: str) -> None:
        request.fields[name] = convert(text)

    return action


def _attribute(name: str, convert: Callable[[str], object]) -> Action:
    def action(request: Request, text: str) -> None:
        setattr(request, name, convert(text))

    return action


def _cluster(name: str) -> Action:
    def action(request: Request, text: str) -> None:
        request.slurm[name] = text

    return action


def _nothing(_: Request, text: str) -> None:
    """Ignore an option: FetchML does this anyway, or in a way of its own."""


def _comment(request: Request, text: str) -> None:
    request.metadata["comment"] = text


def _export(request: Request, text: str) -> None:
    """Pass on only those variables of this shell that the option names."""
    for entry in filter(None, text.split(",")):
        name, equals, value = entry.partition("=")
        if entry in ("NONE", "NIL", "ALL"):
            continue
        if equals:
            request.env[name] = value
        elif name in os.environ:
            request.env[name] = os.environ[name]
        else:
            raise BadOption(f"the variable {name} is not set here")


def _seconds(text: str) -> int:
    try:
        return times.seconds(text)
    except times.BadTime as error:
        raise BadOption(str(error)) from error


def _begins_at(text: str) -> datetime:
    try:
        return times.begins_at(text, datetime.now().astimezone()).astimezone(UTC)
    except times.BadTime as error:
        raise BadOption(str(error)) from error


def _array(text: str) -> Array:
    try:
        return array(text)
    except BadArray as error:
        raise BadOption(str(error)) from error


def _dependencies(text: str) -> tuple[tuple[str, Dependency.Condition], ...]:
    """Return tasks as the option names them, each with its condition."""
    if "?" in text:
        raise BadOption("a task waits for all that it names, not for one of them")
    found = []
    for part in text.split(","):
        kind, *tasks = part.split(":")
        condition = _CONDITIONS.get(kind)
        if condition is None or not all(tasks) or not tasks:
            raise BadOption(
                f"{part!r} is not afterok, afternotok or afterany with ids of tasks, as "
                "afterok:ID:ID"
            )
        found += [(task, condition) for task in tasks]
    return tuple(found)


def _warn_seconds(text: str) -> int:
    match = _SIGNAL.fullmatch(text)
    if match is None:
        raise BadOption(f"{text!r} is not USR1 or USR1@SECONDS, and a task gets no other signal")
    return _in_range(int(match[1] or _SIGNAL_SECONDS))


def _job_name(text: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_-]+", "-", text)[:64].strip("-") or "job"


@dataclass(frozen=True)
class Option:
    action: Action
    becomes: str
    """For the documentation."""
    takes_value: bool = True


_IGNORED = "nothing: the log is kept, `fetchml logs`"
OPTIONS: Mapping[str, Option] = {
    "job-name": Option(_set("job_name", _job_name), "`--name`; other characters become `-`"),
    "cpus-per-task": Option(_set("cpu", _number), "`--cpu`"),
    "mem": Option(_set("memory_gb", _memory), "`--memory-gb`, rounded up"),
    "mem-per-cpu": Option(_attribute("memory_per_cpu", gib), "`--memory-gb`, times the cores"),
    "mem-per-gpu": Option(_attribute("memory_per_gpu", gib), "`--memory-gb`, times the GPUs"),
    "gres": Option(_gres, "`--gpu`, from `gpu:N`"),
    "gpus": Option(_set("gpu", _number), "`--gpu`"),
    "gpus-per-node": Option(_set("gpu", _number), "`--gpu`"),
    "gpus-per-task": Option(_set("gpu", _number), "`--gpu`"),
    "time": Option(_set("timeout_seconds", _seconds), "`--timeout`"),
    "nodes": Option(_one, "only 1"),
    "ntasks": Option(_one, "only 1"),
    "ntasks-per-node": Option(_one, "only 1"),
    "chdir": Option(_attribute("folder", str), "`--dir`: uploaded, and the script runs in it"),
    "export": Option(_export, "`--env`; `ALL` passes nothing"),
    "comment": Option(_comment, "a label `comment`"),
    "partition": Option(_cluster("partition"), "field `slurm`, where the server allows it"),
    "account": Option(_cluster("account"), "field `slurm`, where the server allows it"),
    "qos": Option(_cluster("qos"), "field `slurm`, where the server allows it"),
    "constraint": Option(_cluster("constraint"), "field `slurm`, where the server allows it"),
    "reservation": Option(_cluster("reservation"), "field `slurm`, where the server allows it"),
    "nodelist": Option(_cluster("nodelist"), "field `slurm`, where the server allows it"),
    "exclude": Option(_cluster("exclude"), "field `slurm`, where the server allows it"),
    "licenses": Option(_cluster("licenses"), "field `slurm`, where the server allows it"),
    "hold": Option(_set("hold", lambda _: True), "`--hold`", takes_value=False),
    "begin": Option(_set("start_after", _begins_at), "`--start-after`"),
    "dependency": Option(
        _set("after", _dependencies), "`--after`, from `afterok`, `afternotok`, `afterany`"
    ),
    "signal": Option(_set("warn_seconds", _warn_seconds), "`--warn-seconds`, from `USR1@N`"),
    "array": Option(_attribute("array", _array), "a [sweep](sweeps.md) over the indexes"),
    "wrap": Option(_attribute("wrap", str), "the command, instead of a file"),
    "wait": Option(_attribute("waits", lambda _: True), "`--wait`", takes_value=False),
    "test-only": Option(
        _attribute("validates", lambda _: True),
        "the request is checked only, and its expected start printed",
        takes_value=False,
    ),
    "output": Option(_nothing, _IGNORED),
    "error": Option(_nothing, _IGNORED),
    "open-mode": Option(_nothing, _IGNORED),
    "parsable": Option(_nothing, "nothing: only the id is printed", takes_value=False),
    "quiet": Option(_nothing, "nothing", takes_value=False),
    "verbose": Option(_nothing, "nothing", takes_value=False),
    "no-requeue": Option(_nothing, "nothing: see `--retries`", takes_value=False),
    "mail-type": Option(_nothing, "nothing"),
    "mail-user": Option(_nothing, "nothing"),
}  # fmt: skip
SHORT: Mapping[str, str] = {
    "A": "account",
    "C": "constraint",
    "D": "chdir",
    "G": "gpus",
    "H": "hold",
    "J": "job-name",
    "L": "licenses",
    "N": "nodes",
    "Q": "quiet",
    "W": "wait",
    "a": "array",
    "b": "begin",
    "c": "cpus-per-task",
    "d": "dependency",
    "e": "error",
    "n": "ntasks",
    "o": "output",
    "p": "partition",
    "q": "qos",
    "t": "time",
    "v": "verbose",
    "w": "nodelist",
    "x": "exclude",
}
INSTEAD: Mapping[str, str] = {
    "nice": "use fetchml submit --priority",
    "requeue": "use fetchml submit --retries",
}
"""Options of sbatch that `fetchml sbatch` does not take, and their replacements."""
