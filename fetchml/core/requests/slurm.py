"""Parameters of Slurm in a request, by the names of `sbatch`'s options.

Values become options of a command or properties of a request to slurmrestd. So each parameter has
the characters that Slurm uses for it and no others, and begins with a letter or a digit.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from fetchml.core.requests.checks import also

MAX_VALUE = 256
MAX_NICE = 10_000

_NAMES = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]*(,[A-Za-z0-9][A-Za-z0-9_.@+-]*)*")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]*")
_FEATURES = re.compile(r"[A-Za-z0-9(\[][A-Za-z0-9_.&|*,:()\[\]-]*")
_GRES = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*(:[A-Za-z0-9_.-]+){0,2}")
_NODES = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.,\[\]-]*")
_LICENSES = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@:,-]*")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,5}")

_PATTERNS: dict[str, tuple[re.Pattern[str], str]] = {
    "partition": (_NAMES, "must be names of partitions, separated by commas"),
    "account": (_NAME, "must be the name of an account"),
    "qos": (_NAME, "must be the name of a quality of service"),
    "constraint": (_FEATURES, "must be features of nodes, as for sbatch --constraint"),
    "reservation": (_NAMES, "must be names of reservations, separated by commas"),
    "nodelist": (_NODES, "must be names of nodes, as for sbatch --nodelist"),
    "exclude": (_NODES, "must be names of nodes, as for sbatch --exclude"),
    "licenses": (_LICENSES, "must be licenses, as for sbatch --licenses"),
}
NAMES = (*_PATTERNS, "gres", "nice", "exclusive")
"""Parameters that a server may allow."""
_PARTS_OF_GPUS = frozenset({"mps", "shard"})
"""Generic resources that are parts of GPUs, which no quota counts."""


@dataclass(frozen=True, slots=True)
class Gres:
    """One generic resource: `gpu:a100:2`."""

    name: str
    """In lower case."""
    kind: str
    """Empty: any."""
    count: int | None
    """`None` if it is no plain number."""


def resources(value: str) -> list[Gres] | None:
    """Parse a valid `gres`; `None` if it is not one."""
    found = []
    for part in value.split(","):
        if not _GRES.fullmatch(part):
            return None
        name, *rest = part.split(":")
        count: int | None = 1
        if rest and rest[-1][0].isdecimal():
            last = rest.pop()
            count = int(last) if _NUMBER.fullmatch(last) else None
        if len(rest) > 1:
            return None
        found.append(Gres(name.lower(), rest[0] if rest else "", count))
    return found


def _name(name: str) -> str | None:
    return None if name in NAMES else f"is no parameter: there are {', '.join(NAMES)}"


def _values_fault(parameters: Mapping[str, str]) -> str | None:
    for name, text in parameters.items():
        if (fault := value_fault(name, text)) is not None:
            return f"{name} {fault}"
    return None


SlurmParameters = Annotated[
    dict[Annotated[str, Meta(extra=also(_name))], Annotated[str, Meta(max_length=MAX_VALUE)]],
    Meta(max_length=len(NAMES), extra=also(_values_fault)),
]
"""The field `slurm` of a create request."""


def value_fault(name: str, text: str) -> str | None:
    """Return why a parameter can't have this value; `None` if it can."""
    match name:
        case "nice":
            valid = _NUMBER.fullmatch(text) and int(text) <= MAX_NICE
            return None if valid else f'must be a whole number from "0" to "{MAX_NICE}"'
        case "exclusive":
            return None if text in ("true", "user") else 'must be "true" or "user"'
        case "gres":
            return None if resources(text) is not None else "must be as gpu:a100:2 or name:count"
    pattern, rule = _PATTERNS[name]
    return None if pattern.fullmatch(text) else rule


def fault(asked: Mapping[str, str], gpu: int, allow: Sequence[str] | None) -> str | None:
    """Return why a task may not request these valid parameters; `None` if it may.

    `gpu`: the number of GPUs of the request, which quotas count. `allow`: names that the server
    allows, or `name=value` for that value only, and `gres=shard` or `gres=mps` for any number of
    them beside `gres`; `None` if it does not run tasks on Slurm.
    """
    if allow is None:
        return "is for servers that run tasks on Slurm, which this one does not: leave it out"
    for name, value in asked.items():
        if name in allow or f"{name}={value}" in allow:
            continue
        allowed = ", ".join(allow) or "no parameter"
        return f"{name} is not allowed with this value: this server allows {allowed}"
    return _gres_fault(asked["gres"], gpu, allow) if "gres" in asked else None


def _gres_fault(value: str, gpu: int, allow: Sequence[str]) -> str | None:
    found = resources(value) or []
    counts = [each.count for each in found if each.name == "gpu"]
    if counts and (None in counts or sum(filter(None, counts)) != gpu):
        return f"gres must have the number of GPUs that the field gpu has, which is {gpu}"
    for each in found:
        by_name = {f"gres={each.name}", f"gres={value}"}
        if each.name in _PARTS_OF_GPUS and by_name.isdisjoint(allow):
            return (
                f"gres {each.name} is not allowed, since no quota counts it: the server's owner "
                f"allows it by the entry gres={each.name} of [slurm] allow"
            )
    return None


def user_fault(user: str, allowed: Collection[str] | None) -> str | None:
    """Return why a user may run no tasks; `None` if they may. `allowed`: the users who have an
    account of the cluster; `None` if the others' jobs are those of the server's account."""
    if allowed is None or user in allowed:
        return None
    return (
        f"The user {user} has no account on the cluster: ask the server's owner for one "
        f"([slurm.users.{user}] user)"
    )
