"""Datasets, snapshots, and how long history is kept."""

from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from fetchml.config.sections.types import Count, Days, Text, about
from fetchml.core.requests import dataset


class DatasetSettings(msgspec.Struct, frozen=True):
    """`[datasets]`"""

    root: Annotated[
        Path | None,
        about(
            "Directory that contains the datasets. Tasks name them by subdirectory.",
            default="none: tasks cannot name datasets",
        ),
    ] = None
    allow: Annotated[
        tuple[Text, ...],
        about(
            "URL schemes allowed for dataset sources. `file`: paths below `root`. Schemes other "
            "than `http` and `https`, such as `s3`, require an installed fsspec with support for "
            "them."
        ),
    ] = dataset.SCHEMES
    allow_private: Annotated[
        bool, about("Also fetch from private networks and from this host.")
    ] = False
    allow_hosts: Annotated[
        tuple[Text, ...],
        about("Hosts that are allowed whatever their address. Spell them as in the source URL."),
    ] = ()
    cache_bytes: Annotated[
        Annotated[int, Meta(ge=0, le=1 << 60)],
        about(
            "Maximum size of the dataset cache, in bytes. The least recently used datasets are "
            "removed first."
        ),
    ] = 50 * 1024 * 1024 * 1024


class SnapshotSettings(msgspec.Struct, frozen=True):
    """`[snapshots]`"""

    max_bytes: Annotated[
        Annotated[int, Meta(ge=1, le=1 << 40)],
        about("Maximum size of a snapshot, in bytes, packed and unpacked."),
    ] = 2 * 1024 * 1024 * 1024
    max_files: Annotated[
        Annotated[int, Meta(ge=1, le=10_000_000)],
        about("Maximum number of files and folders in a snapshot."),
    ] = 100_000
    keep_days: Annotated[
        Annotated[int, Meta(ge=1, le=36_500)],
        about(
            "Days after its last use until the server deletes a snapshot. Snapshots that a live "
            "task or an experiment refers to are kept."
        ),
    ] = 30


class HistorySettings(msgspec.Struct, frozen=True):
    """`[history]`"""

    journal_rows: Annotated[
        Annotated[int, Meta(ge=1000, le=100_000_000)],
        about("Number of changes to keep, so that watchers can resume after a disconnect."),
    ] = 200_000
    audit_rows: Annotated[
        Annotated[int, Meta(ge=1000, le=100_000_000)],
        about(
            "Number of audit entries to keep. Entries that are part of task records do not count."
        ),
    ] = 100_000
    usage_rows: Annotated[
        Annotated[int, Meta(ge=0, le=100_000_000)],
        about(
            "Number of usage samples to keep. The server takes one sample of each task and GPU "
            "every 10 s and keeps it for a week; above this number it aggregates the oldest "
            "samples by the hour earlier. 0: no samples."
        ),
    ] = 3_600_000
    keep_days: Annotated[
        Days,
        about(
            "Days after its end until the server deletes a task with its outputs, logs and "
            "record. Daily counts are kept. 0: never."
        ),
    ] = 0
    time_zone: Annotated[ZoneInfo, about("Time zone for daily statistics.")] = ZoneInfo("UTC")
    min_free_mb: Annotated[
        Count, about("Free disk space, in MiB, below which the server accepts no more tasks.")
    ] = 512
