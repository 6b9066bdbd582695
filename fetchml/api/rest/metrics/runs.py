"""Metrics of training runs: conditions, holds, interrupts, checkpoints and volumes."""

from collections.abc import Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from fetchml.attempts.checkpoints import CheckpointCounts
from fetchml.engine.status import RunCounts
from fetchml.files.volume_usage import VolumeReport


def run_metrics(counts: RunCounts) -> Iterator[Metric]:
    held_back = GaugeMetricFamily(
        "fetchml_tasks_held_back", "Queued tasks that may not start yet.", labels=["why"]
    )
    held_back.add_metric(["hold"], counts.on_hold)
    held_back.add_metric(["dependency"], counts.blocked)
    held_back.add_metric(["start_after"], counts.postponed)
    yield held_back
    yield CounterMetricFamily(
        "fetchml_dependency_failures",
        "Tasks that failed since a condition on others can't hold.",
        counts.dependency_failures,
    )
    yield CounterMetricFamily(
        "fetchml_interrupts", "Attempts that users interrupted.", counts.interrupts
    )
    yield from _checkpoint_metrics(counts.checkpoints)
    yield from _volume_metrics(counts.volumes)
    yield CounterMetricFamily(
        "fetchml_volume_refusals", "Requests rejected for a full volume.", counts.volume_refusals
    )


def _checkpoint_metrics(counts: CheckpointCounts) -> Iterator[Metric]:
    provided = CounterMetricFamily(
        "fetchml_checkpoints_provided", "Attempts with a checkpoint folder.", labels=["how"]
    )
    provided.add_metric(["new"], counts.new)
    provided.add_metric(["kept"], counts.kept)
    provided.add_metric(["copied"], counts.copied)
    yield provided
    yield CounterMetricFamily(
        "fetchml_checkpoint_copied_bytes", "Bytes of copied checkpoints.", counts.copied_bytes
    )
    yield CounterMetricFamily(
        "fetchml_checkpoint_failures",
        "Attempts whose checkpoint could not be prepared.",
        counts.failures,
    )


def _volume_metrics(volumes: tuple[VolumeReport, ...]) -> Iterator[Metric]:
    labels = ["volume"]
    used = GaugeMetricFamily("fetchml_volume_bytes", "Disk use of a volume.", labels=labels)
    files = GaugeMetricFamily(
        "fetchml_volume_files", "Files and folders of a volume.", labels=labels
    )
    limit = GaugeMetricFamily(
        "fetchml_volume_limit_bytes", "Disk use from which on no writer starts.", labels=labels
    )
    for volume in volumes:
        if volume.max_bytes:
            limit.add_metric([volume.name], volume.max_bytes)
        if volume.used is not None:
            used.add_metric([volume.name], volume.used.bytes)
            files.add_metric([volume.name], volume.used.files)
    yield from (used, files, limit)
