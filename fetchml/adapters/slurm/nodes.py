"""Nodes as Slurm reports them, over REST and by `scontrol show node`."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fetchml.ports.cluster import Node

_NO_WORK = frozenset(
    [
        "BLOCKED",
        "DOWN",
        "DRAIN",
        "DRAINED",
        "DRAINING",
        "ERROR",
        "FAIL",
        "FAILING",
        "FUTURE",
        "MAINT",
        "MAINTENANCE",
        "NOT_RESPONDING",
        "POWERING_DOWN",
        "REBOOT_ISSUED",
        "UNKNOWN",
    ]
)
_NONE = ("(null)", "N/A", "")
_WORD = re.compile(r"(?:^| )([A-Za-z:/]+)=")
_WRITTEN_BY = re.compile(r"^(.*?)(?: \[([^\[\]@]+)@[^\]]*\])?$", re.DOTALL)
_ADDRESS = re.compile(r"[A-Za-z0-9._:%-]{1,255}")
_MOST_GPUS = 256
"""Of one node."""
_REASON_CHARACTERS = 300


def takes_work(state: Iterable[str]) -> bool:
    return not {word.strip("*~#!%$@^-+") for word in state} & _NO_WORK


def of_rest(each: Mapping[str, Any]) -> Node:
    """One entry of `/nodes/`."""
    partitions = each.get("partitions") or ()
    return _node(
        str(each.get("name") or ""),
        _state(each.get("state")),
        reason=str(each.get("reason") or ""),
        reason_by=str(each.get("reason_set_by_user") or ""),
        cpu=_whole(each.get("cpus")),
        cpu_used=_whole(each.get("alloc_cpus")),
        memory_mb=_whole(each.get("real_memory")),
        memory_used_mb=_whole(each.get("alloc_memory")),
        gres=str(each.get("gres") or ""),
        gres_used=str(each.get("gres_used") or ""),
        partitions=tuple(map(str, partitions)) if isinstance(partitions, list) else (),
        address=str(each.get("address") or ""),
    )


def of_scontrol(text: str) -> list[Node]:
    """All nodes of `scontrol show node -d --oneliner`."""
    return [_of_line(line) for line in text.split("\n") if line.startswith("NodeName=")]


def _of_line(line: str) -> Node:
    # The reason is last, and free text.
    line, _, reason = line.partition(" Reason=")
    found = dict(_words(line))
    written = _WRITTEN_BY.match(reason.rstrip())
    return _node(
        found.get("NodeName", ""),
        tuple(found.get("State", "UNKNOWN").upper().split("+")),
        reason=written[1] if written else "",
        reason_by=(written[2] or "") if written else "",
        cpu=_whole(found.get("CPUTot")),
        cpu_used=_whole(found.get("CPUAlloc")),
        memory_mb=_whole(found.get("RealMemory")),
        memory_used_mb=_whole(found.get("AllocMem")),
        gres=found.get("Gres", ""),
        gres_used=found.get("GresUsed", ""),
        partitions=tuple(filter(None, found.get("Partitions", "").split(","))),
        address=found.get("NodeAddr", ""),
    )


def _words(line: str) -> Iterator[tuple[str, str]]:
    places = list(_WORD.finditer(line))
    for place, following in zip(places, [*places[1:], None], strict=True):
        value = line[place.end() : following.start() if following else len(line)].strip()
        yield place[1], "" if value in _NONE else value


def _node(
    name: str,
    state: tuple[str, ...],
    *,
    reason: str,
    reason_by: str,
    cpu: int,
    cpu_used: int,
    memory_mb: int,
    memory_used_mb: int,
    gres: str,
    gres_used: str,
    partitions: tuple[str, ...],
    address: str,
) -> Node:
    is_usable = takes_work(state)
    count, kind, _ = _gpus(gres)
    used, _, indexes = _gpus(gres_used)
    reason = "".join(c if c.isprintable() else " " for c in reason)[:_REASON_CHARACTERS].strip()
    return Node(
        name,
        tuple(word.upper() for word in state),
        is_usable,
        None if is_usable else reason or None,
        None if is_usable else reason_by or None,
        cpu,
        cpu_used,
        memory_mb,
        memory_used_mb,
        count,
        min(used, count),
        indexes if indexes is None else tuple(sorted(n for n in indexes if n < count)),
        kind,
        partitions,
        address if _ADDRESS.fullmatch(address) else "",
    )


def _gpus(gres: str) -> tuple[int, str, frozenset[int] | None]:
    """Count the GPUs in `gpu:a100:4(IDX:0-1,3),gpu:h100:2(S:0)`. Return also their types, and the
    numbers after `IDX`; `None` if there are none."""
    count, kinds = 0, list[str]()
    indexes: frozenset[int] | None = None
    for entry in re.split(r",(?![^(]*\))", gres):
        word, _, detail = entry.partition("(")
        name, *rest = word.strip().split(":")
        if name != "gpu":
            continue
        number = rest[-1] if rest else "1"
        kinds += rest[:-1]
        if not number.isdecimal():  # `gpu:a100`: one.
            kinds, number = [*kinds, number], "1"
        count += int(number[:6])
        if detail.startswith("IDX:"):
            indexes = (indexes or frozenset()) | numbers(detail[4:].rstrip(")"))
    return min(count, _MOST_GPUS), "+".join(dict.fromkeys(kinds)), indexes


def numbers(text: str) -> frozenset[int]:
    """Return the numbers of `0-1,3`. What is no number is left out."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            end = min(int((last or first)[:6]), _MOST_GPUS)
            found.update(range(min(int(first[:6]), end + 1), end + 1))
    return frozenset(found)


def _state(value: object) -> tuple[str, ...]:
    """A list, and one word in older versions; what can't be read is no state that takes work."""
    if isinstance(value, str) and value:
        return (value,)
    return tuple(map(str, value)) if isinstance(value, list) and value else ("UNKNOWN",)


def _whole(value: object) -> int:
    """A number that may be set, plain, or text."""
    if isinstance(value, dict):
        value = value.get("number") if value.get("set") else 0
    if isinstance(value, str):
        return int(value[:12]) if value.isdecimal() else 0
    return value if isinstance(value, int) and value > 0 else 0
