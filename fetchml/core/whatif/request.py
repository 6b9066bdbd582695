"""What a replay may change: the period, settings by their names, and the number of GPUs."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import msgspec
from msgspec import Meta

from fetchml.core.bookings.booking import MOST_GPUS
from fetchml.core.events import GpuDrained
from fetchml.core.requests import checks
from fetchml.core.requests.checks import Time, Violation, milliseconds
from fetchml.core.whatif.replay import Host

PERIOD_MS = 7 * 86_400_000
"""Length of the period if the request has no begin."""
NOT_THERE = "the replay"
"""Drains GPUs that a replay is to do without."""


class WhatIfRequest(msgspec.Struct, frozen=True):
    """A request in JSON. `None`: not in the request."""

    since: Time | None = None
    until: Time | None = None
    gpus: Annotated[int, Meta(ge=0, le=MOST_GPUS)] | None = None
    settings: Annotated[dict[str, str], Meta(max_length=20)] = {}


def read(fields: Mapping[str, object], now: int) -> tuple[WhatIfRequest, int, int, list[Violation]]:
    """Return the request, its period, and the rules that it breaks."""
    asked, wrong = checks.read(fields, WhatIfRequest)
    if asked is None:
        return WhatIfRequest(), 0, 0, wrong
    until = min(now, now if asked.until is None else milliseconds(asked.until) or 0)
    since = until - PERIOD_MS if asked.since is None else milliseconds(asked.since) or 0
    if since >= until:
        wrong.append(Violation("since", "must be before until, and in the past"))
    return asked, since, until, wrong


def with_gpus(host: Host, count: int, since: int) -> Host:
    """Return the host with another number of GPUs: the first ones of its own, and more like the
    last. Those that it is to lack are drained, so that tasks which hold them at the start go on."""
    if not host.gpus:
        capacity = msgspec.structs.replace(host.limits.capacity, gpu=count)
        return host._replace(limits=replace(host.limits, capacity=capacity), gpu_count=count)
    gpus = sorted(host.gpus, key=lambda gpu: (gpu.position, gpu.uuid))
    last = gpus[-1]
    more = [
        msgspec.structs.replace(last, uuid=f"GPU-added-{number}", position=last.position + number)
        for number in range(1, count - len(gpus) + 1)
    ]
    gone = {gpu.uuid for gpu in gpus[count:]}
    drains = [each for each in host.drains if each.uuid not in gone]
    drains += [GpuDrained(since, uuid, NOT_THERE) for uuid in sorted(gone)]
    return host._replace(gpu_count=count, gpus=(*gpus, *more), drains=tuple(drains))
