"""Limits on snapshots, and how long they are kept."""

from dataclasses import dataclass

from fetchml.snapshots.unpack import UnpackLimits


@dataclass(frozen=True, slots=True)
class SnapshotOptions:
    limits: UnpackLimits
    keep_ms: int
    """Time after its last use when a snapshot is removed."""
    private: bool
