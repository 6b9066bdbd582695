"""Counts of what training runs use beside the queue: conditions, holds, interrupts, checkpoints and
volumes. For metrics."""

from typing import NamedTuple

from fetchml.attempts.checkpoints import CheckpointCounts
from fetchml.core.model import Principal
from fetchml.core.scheduling.waiting import Blocked, OnHold, Postponed
from fetchml.core.state import State
from fetchml.files.storage.volumes import VolumeReport, VolumeUsage


class RunCounts(NamedTuple):
    """Of all users together, but for `volumes`. Totals are since the server's start."""

    on_hold: int = 0
    blocked: int = 0
    """Tasks that wait for other tasks or for sweeps."""
    postponed: int = 0
    """Tasks whose `start_after` has not come."""
    dependency_failures: int = 0
    interrupts: int = 0
    checkpoints: CheckpointCounts = CheckpointCounts()
    volumes: tuple[VolumeReport, ...] = ()
    """Those that the caller's tasks may mount."""
    volume_refusals: int = 0


def run_counts(
    who: Principal, state: State, checkpoints: CheckpointCounts, volumes: VolumeUsage
) -> RunCounts:
    held_back = state.held_back.by_kind
    return RunCounts(
        held_back.get(OnHold, 0),
        held_back.get(Blocked, 0),
        held_back.get(Postponed, 0),
        state.blocked.failures,
        state.interrupts,
        checkpoints,
        tuple(volumes.seen_by(who)),
        volumes.refused,
    )
