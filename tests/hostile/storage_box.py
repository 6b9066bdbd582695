"""Helpers for tests of storage: a disk monitor, retention, and the usage of a user."""

from typing import Any

from fetchml.core.model import Principal
from fetchml.core.storage import Kind
from fetchml.engine.engine import Engine
from fetchml.engine.retention import Retention, RetentionSettings
from fetchml.files.storage_usage import MonitorSettings, StorageMonitor
from tests.support.engine_box import Box

MIB = 1 << 20
HOUR_MS = 3_600_000


def script(text: str) -> dict[str, Any]:
    return {"job_name": "job", "command": ["sh", "-c", text]}


def disk_watch(box: Box, engine: Engine, min_free_bytes: int = 0) -> StorageMonitor:
    settings = MonitorSettings(box.data_dir, min_free_bytes)
    return StorageMonitor(box.usage, box.parts.watched, box.jupyter, settings)


def retention(box: Box, engine: Engine, keep_ms: int = 0, outputs_keep_ms: int = 0) -> Retention:
    settings = RetentionSettings(keep_ms, outputs_keep_ms)
    parts = box.parts
    return Retention(
        parts.store,
        parts.ended,
        parts.snapshots,
        parts.usage,
        parts.audit,
        settings,
        parts.clock,
        environments=parts.environments,
        volumes=parts.volumes,
    )


def used(box: Box, who: Principal, kind: Kind) -> int:
    return box.usage.of(who.user).used[kind].bytes
