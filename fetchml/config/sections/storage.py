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
            "Folder whose subfolders are the datasets that tasks may name.",
            default="none: tasks can name no datasets",
        ),
    ] = None
    allow: Annotated[
        tuple[Text, ...],
        about(
            "Schemes that the source of a dataset may have. `file`: paths below `root`. Schemes "
            "other than `http` and `https`, such as `s3`, need an installed fsspec that reads "
            "them."
        ),
    ] = dataset.SCHEMES
    allow_private: Annotated[
        bool, about("Also fetch from private networks and from this host.")
    ] = False
    allow_hosts: Annotated[
        tuple[Text, ...],
        about("Host names, as sources spell them, that may have any address."),
    ] = ()
    cache_bytes: Annotated[
        Annotated[int, Meta(ge=0, le=1 << 60)],
        about(
            "Most bytes of fetched datasets that are kept. The least recently used are removed "
            "first."
        ),
    ] = 50 * 1024 * 1024 * 1024


class SnapshotSettings(msgspec.Struct, frozen=True):
    """`[snapshots]`"""

    max_bytes: Annotated[
        Annotated[int, Meta(ge=1, le=1 << 40)],
        about("Largest snapshot, in bytes, packed or unpacked."),
    ] = 2 * 1024 * 1024 * 1024
    max_files: Annotated[
        Annotated[int, Meta(ge=1, le=10_000_000)],
        about("Most files and folders in a snapshot."),
    ] = 100_000
    keep_days: Annotated[
        Annotated[int, Meta(ge=1, le=36_500)],
        about(
            "Days after its last use when a snapshot is removed, unless a live task or an "
            "experiment names it."
        ),
    ] = 30


class HistorySettings(msgspec.Struct, frozen=True):
    """`[history]`"""

    journal_rows: Annotated[
        Annotated[int, Meta(ge=1000, le=100_000_000)],
        about("Changes that are kept, so that watchers can resume after a disconnect."),
    ] = 200_000
    audit_rows: Annotated[
        Annotated[int, Meta(ge=1000, le=100_000_000)],
        about("Audit entries that are kept, besides those of tasks themselves."),
    ] = 100_000
    usage_rows: Annotated[
        Annotated[int, Meta(ge=0, le=100_000_000)],
        about(
            "Samples of what tasks and GPUs use, one of each every 10 s, that are kept for a week; "
            "beyond this number the oldest are summed up by the hour sooner. 0: no samples."
        ),
    ] = 3_600_000
    keep_days: Annotated[
        Days,
        about(
            "Days after its end when a task is removed, with its outputs, logs and row. The daily "
            "counts stay. 0: never."
        ),
    ] = 0
    time_zone: Annotated[
        ZoneInfo, about("Time zone in which the days of the statistics begin.")
    ] = ZoneInfo("UTC")
    min_free_mb: Annotated[
        Count, about("Free disk space, in MiB, below which no more tasks are accepted.")
    ] = 512
