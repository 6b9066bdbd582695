"""The options of Slurm's sbatch, and the fields of a task that they become.

docs/cluster-sbatch.md has the same table for users; a test compares them.
"""

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Any

from fetchml.cli.param_types import SAME_INDEX
from fetchml.v1.task_pb2 import Dependency

MOST_SECONDS = 1 << 31
_TIMES = (
    (re.compile(r"(\d+)-(\d+)(?::(\d+))?(?::(\d+))?", re.ASCII), (86_400, 3600, 60, 1)),
    (re.compile(r"(\d+):(\d+):(\d+)", re.ASCII), (3600, 60, 1)),
    (re.compile(r"(\d+)(?::(\d+))?", re.ASCII), (60, 1)),
)
_LATER = re.compile(r"now\+(\d{1,9})(s|second|m|minute|h|hour|d|day|w|week)?s?", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_NAMED = {
    "midnight": time(0),
    "elevenses": time(11),
    "noon": time(12),
    "fika": time(15),
    "teatime": time(16),
}
_TIMES_OF_DAY = ("%H:%M", "%H:%M:%S", "%I:%M%p", "%I:%M:%S%p")


class BadOption(Exception):
    """An invalid value. The message is for users, and does not name the option."""


def seconds(text: str) -> int:
    """Convert a time limit: `30`, `30:00`, `1:00:00`, `1-12`, `1-12:30`, `1-12:30:00`; 0 for none.
    Raises BadOption."""
    if text.upper() in ("INFINITE", "UNLIMITED"):
        return 0
    for pattern, units in _TIMES:
        if match := pattern.fullmatch(text):
            parts = (int((part or "0")[:10]) for part in match.groups())
            total = sum(p * u for p, u in zip(parts, units, strict=True))
            if total >= MOST_SECONDS:
                raise BadOption(f"{total} is too large")
            return total
    raise BadOption(f"{text!r} is not a time such as 90, 30:00, 12:00:00 or 2-00:00:00")


def begins_at(text: str, now: datetime) -> datetime:
    """Convert the time of `--begin`: `now+2hours`, `16:00`, `noon`, `tomorrow`,
    `2026-12-01T20:00`. Without a zone it is that of `now`. A time of day that has passed is
    tomorrow's. Raises BadOption."""
    lowered = text.strip().lower()
    if lowered == "now":
        return now
    try:
        if match := _LATER.fullmatch(lowered):
            unit = _UNITS[(match[2] or "s")[0]]
            return now.astimezone(UTC) + timedelta(seconds=int(match[1]) * unit)
        if lowered in ("today", "tomorrow"):
            return now if lowered == "today" else now + timedelta(days=1)
        of_day = _NAMED.get(lowered) or _time_of_day(lowered)
        if of_day is not None:
            today = datetime.combine(now.date(), of_day, now.tzinfo)
            return today if today > now else today + timedelta(days=1)
        moment = datetime.fromisoformat(text.strip())
        return moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)
    except (ValueError, OverflowError):
        raise BadOption(
            f"{text!r} is not a time such as now+2hours, 16:00, tomorrow or 2026-12-01T20:00"
        ) from None


def _time_of_day(text: str) -> time | None:
    for form in _TIMES_OF_DAY:
        with suppress(ValueError):
            return datetime.strptime(text.replace(" ", ""), form).replace(tzinfo=UTC).time()
    return None


PARAMETER = "array_task_id"
"""The sweep's parameter."""
MOST_INDEXES = 10_000
"""As many tasks as a sweep may have."""
_MOST_INDEX = 1 << 31
_PART = re.compile(r"(\d{1,10})(?:-(\d{1,10})(?::(\d{1,10}))?)?", re.ASCII)
_IN_BRACES = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True)
class Array:
    indexes: tuple[int, ...]
    """In ascending order, each once."""
    max_parallel: int | None = None
    """`None` if all may run at the same time."""

    @property
    def variables(self) -> Mapping[str, str]:
        """Return the variables that Slurm sets for each job of an array. The index of each is the
        parameter's value."""
        return {
            "SLURM_ARRAY_TASK_ID": f"{{{PARAMETER}}}",
            "SLURM_ARRAY_TASK_COUNT": str(len(self.indexes)),
            "SLURM_ARRAY_TASK_MIN": str(self.indexes[0]),
            "SLURM_ARRAY_TASK_MAX": str(self.indexes[-1]),
        }


def array(text: str) -> Array:
    """Convert `0-15`, `1,3,5-7`, `0-20:5`, each with `%4` for the most that run at the same time.
    Raises BadOption."""
    listed, percent, most = text.partition("%")
    if percent and not re.fullmatch(r"[1-9]\d{0,4}", most, re.ASCII):
        raise BadOption(f"{most!r} is not a number of tasks that run at the same time")
    indexes: set[int] = set()
    for part in listed.split(","):
        match = _PART.fullmatch(part)
        first, last, step = (int(each or 0) for each in match.groups()) if match else (1, 0, 0)
        if match and match[2] is None:
            last = first
        if last < first or last >= _MOST_INDEX or (match and match[3] and not step):
            raise BadOption(f"{part!r} is not an index or a range such as 7, 0-15 or 0-20:5")
        part_indexes = range(first, last + 1, step or 1)
        if len(part_indexes) + len(indexes) > MOST_INDEXES:
            raise BadOption(f"it has more than {MOST_INDEXES} indexes")
        indexes.update(part_indexes)
    return Array(tuple(sorted(indexes)), int(most) if percent else None)


def literal(words: Sequence[str]) -> tuple[str, ...]:
    """Return words in which a sweep finds no placeholders: `${HOME}` stays what it is."""
    return tuple(_IN_BRACES.sub(r"{{\1}}", word) for word in words)


GIB_OF = {"K": 1 / (1 << 20), "M": 1 / 1024, "G": 1, "T": 1024}
_MOST = 1 << 31
_CONDITIONS = {
    "afterok": Dependency.completed,
    "afternotok": Dependency.failed,
    "afterany": Dependency.ended,
    "aftercorr": Dependency.completed,
}
_SIGNAL = re.compile(r"(?:[RB]{1,2}:)?(?:SIG)?(?:USR1|10)(?:@(\d{1,9}))?", re.ASCII | re.IGNORECASE)
_SIGNAL_SECONDS = 60
"""Slurm's default if `--signal` has no time."""


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


def _begins_at(text: str) -> datetime:
    return begins_at(text, datetime.now().astimezone()).astimezone(UTC)


def _dependencies(text: str) -> tuple[tuple[str, Dependency.Condition], ...]:
    """Return tasks as the option names them, each with its condition."""
    if "?" in text:
        raise BadOption("a task waits for all that it names, not for one of them")
    dependencies = []
    for part in text.split(","):
        kind, *tasks = part.split(":")
        condition = _CONDITIONS.get(kind)
        if condition is None or not all(tasks) or not tasks:
            raise BadOption(
                f"{part!r} is not afterok, afternotok, afterany or aftercorr with ids of tasks or "
                "arrays, as afterok:ID:ID"
            )
        prefix = SAME_INDEX if kind == "aftercorr" else ""
        dependencies += [(prefix + task, condition) for task in tasks]
    return tuple(dependencies)


def _warn_seconds(text: str) -> int:
    match = _SIGNAL.fullmatch(text)
    if match is None:
        raise BadOption(f"{text!r} is not USR1 or USR1@SECONDS, and a task gets no other signal")
    return _in_range(int(match[1] or _SIGNAL_SECONDS))


def _job_name(text: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_-]+", "-", text)[:64].strip("-") or "job"


_OF_CLUSTERS = (
    *("partition", "account", "qos", "constraint"),
    *("reservation", "nodelist", "exclude", "licenses"),
)
_IGNORED = (
    *("output", "error", "open-mode", "parsable", "quiet", "verbose"),
    *("no-requeue", "mail-type", "mail-user"),
)
OPTIONS: Mapping[str, Action] = {
    "job-name": _set("job_name", _job_name),
    "cpus-per-task": _set("cpu", _number),
    "mem": _set("memory_gb", _memory),
    "mem-per-cpu": _attribute("memory_per_cpu", gib),
    "mem-per-gpu": _attribute("memory_per_gpu", gib),
    "gres": _gres,
    **dict.fromkeys(("gpus", "gpus-per-node", "gpus-per-task"), _set("gpu", _number)),
    "time": _set("timeout_seconds", seconds),
    **dict.fromkeys(("nodes", "ntasks", "ntasks-per-node"), _one),
    "chdir": _attribute("folder", str),
    "export": _export,
    "comment": _comment,
    **{name: _cluster(name) for name in _OF_CLUSTERS},
    "hold": _set("hold", lambda _: True),
    "begin": _set("start_after", _begins_at),
    "dependency": _set("after", _dependencies),
    "signal": _set("warn_seconds", _warn_seconds),
    "array": _attribute("array", array),
    "wrap": _attribute("wrap", str),
    "wait": _attribute("waits", lambda _: True),
    "test-only": _attribute("validates", lambda _: True),
    **dict.fromkeys(_IGNORED, _nothing),
}
FLAGS = frozenset({"hold", "no-requeue", "parsable", "quiet", "test-only", "verbose", "wait"})
"""The options without a value."""
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
