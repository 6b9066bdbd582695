"""What a replay may change: the period, the GPUs, and settings by their names in the
configuration."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from fetchml.core.bookings.booking import MOST_GPUS
from fetchml.core.events import GpuDrained
from fetchml.core.gpus.allocator import Gpu, Placement
from fetchml.core.model import Value
from fetchml.core.requests import checks
from fetchml.core.requests.checks import MAX_INT, Time, Violation, milliseconds
from fetchml.core.requests.text import nearest, shown
from fetchml.core.scheduling.resources import Limits
from fetchml.core.whatif.replay import NOT_THERE, Host

PERIOD_MS = 7 * 86_400_000
"""Length of the period if the request has no begin."""


class Changed(Value, frozen=True):
    """A setting of a replay, as the configuration has it."""

    name: str
    was: str
    now: str


class WhatIfRequest(msgspec.Struct, frozen=True):
    """A request in JSON. `None`: not in the request."""

    since: Time | None = None
    until: Time | None = None
    gpus: Annotated[int, Meta(ge=0, le=MOST_GPUS)] | None = None
    settings: Annotated[dict[str, str], Meta(max_length=20)] = {}


class Period(NamedTuple):
    since: int
    until: int


class _Setting(NamedTuple):
    path: str
    """Field of `Limits`, or of its `capacity`."""
    read: Callable[[str], object | None]
    """Returns `None` for a value that breaks the rule."""
    rule: str
    unit_ms: int = 0
    """Milliseconds of the setting's unit; 0 if it is no time."""


def _number(least: int) -> Callable[[str], int | None]:
    def read(text: str) -> int | None:
        is_number = text.isascii() and text.isdigit() and len(text) <= len(str(MAX_INT))
        return int(text) if is_number and least <= int(text) <= MAX_INT else None

    return read


_COUNT = _number(0), "must be a number, 0 or more"
_AT_LEAST_ONE = _number(1), "must be a number, 1 or more"
_SWITCH = {"true": True, "false": False}.get, "must be true or false"
SETTINGS: Mapping[str, _Setting] = {
    "gpu.placement": _Setting(
        "placement", {each.value: each for each in Placement}.get, "must be fill or spread"
    ),
    "gpu.slots_per_gpu": _Setting("slots_per_gpu", *_AT_LEAST_ONE),
    "quotas.user_gpus": _Setting("user_gpus", *_COUNT),
    "quotas.user_running": _Setting("user_running", *_COUNT),
    "resources.cpu": _Setting("capacity.cpu", *_COUNT),
    "resources.memory_gb": _Setting("capacity.memory_gb", *_COUNT),
    "scheduling.ahead": _Setting("prestage", *_SWITCH),
    "scheduling.half_life": _Setting("half_life_ms", *_COUNT, unit_ms=1_000),
    "scheduling.preemption": _Setting("preemption", *_SWITCH),
    "tasks.max_running": _Setting("max_running", *_AT_LEAST_ONE),
    "tasks.reserve_after": _Setting("reserve_after_ms", *_COUNT, unit_ms=1_000),
}


def read(
    fields: Mapping[str, object], host: Host, now: int
) -> tuple[Period, Host, list[Changed], list[Violation]]:
    """Return the period, the changed host and the changes of a request, and the rules that it
    breaks. `host`: as it is."""
    asked, wrong = checks.read(fields, WhatIfRequest)
    if asked is None:
        return Period(0, 0), host, [], wrong
    until = min(now, now if asked.until is None else milliseconds(asked.until) or 0)
    since = until - PERIOD_MS if asked.since is None else milliseconds(asked.since) or 0
    if since >= until:
        wrong.append(Violation("since", "must be before until, and in the past"))
    changes: list[Changed] = []
    for name, text in asked.settings.items():
        setting = SETTINGS.get(name)
        if setting is None:
            wrong.append(Violation("settings", _unknown(name)))
        elif (value := setting.read(text)) is None:
            wrong.append(Violation("settings", f"{name} {setting.rule}"))
        else:
            before = _shown(setting, host.limits)
            limits = _changed(host.limits, setting, value)
            if limits != host.limits:
                host = host._replace(limits=limits)
                changes.append(Changed(name, before, _shown(setting, limits)))
    if asked.gpus is not None and asked.gpus != (count := number_of_gpus(host)):
        changes.append(Changed("gpus", str(count), str(asked.gpus)))
        host = _with_gpus(host, asked.gpus, since)
    return Period(since, until), host, changes, wrong


def number_of_gpus(host: Host) -> int:
    gone = sum(drain.by == NOT_THERE for drain in host.drains)
    return host.limits.capacity.gpu or len(host.gpus) - gone


def _with_gpus(host: Host, count: int, since: int) -> Host:
    """Return the host with another number of GPUs: the first ones of its own, and more like the
    last. Those that it is to lack are drained, so that tasks which hold them at the start go on."""
    if not host.gpus:
        capacity = msgspec.structs.replace(host.limits.capacity, gpu=count)
        return host._replace(limits=replace(host.limits, capacity=capacity))
    gpus = sorted(host.gpus, key=lambda gpu: (gpu.position, gpu.uuid))
    last = gpus[-1]
    more: Sequence[Gpu] = [
        msgspec.structs.replace(last, uuid=f"GPU-added-{number}", position=last.position + number)
        for number in range(1, count - len(gpus) + 1)
    ]
    gone = {gpu.uuid for gpu in gpus[count:]}
    drains = [each for each in host.drains if each.uuid not in gone]
    drains += [GpuDrained(since, uuid, NOT_THERE) for uuid in sorted(gone)]
    return host._replace(gpus=(*gpus, *more), drains=tuple(drains))


def _changed(limits: Limits, setting: _Setting, value: object) -> Limits:
    if setting.unit_ms and isinstance(value, int):
        value *= setting.unit_ms
    outer, _, inner = setting.path.rpartition(".")
    if outer:
        value = msgspec.structs.replace(limits.capacity, **{inner: value})
    return replace(limits, **{outer or inner: value})  # type: ignore[arg-type]


def _shown(setting: _Setting, limits: Limits) -> str:
    value: object = limits
    for name in setting.path.split("."):
        value = getattr(value, name)
    if setting.unit_ms and isinstance(value, int):
        value //= setting.unit_ms
    return str(value).lower()


def _unknown(name: str) -> str:
    near = nearest(name, list(SETTINGS))
    meant = f"; did you mean {near}?" if near else "."
    return f"unknown setting {shown(name, 80)}{meant} The settings are {', '.join(SETTINGS)}"
