"""Metrics of running tasks."""

from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from fetchml.views import TaskUse


def task_metrics(use: Iterable[TaskUse]) -> Iterator[Metric]:
    """Yield what running tasks have used in their current attempt."""
    labels = ["task_id", "user"]
    cpu = CounterMetricFamily(
        "fetchml_task_cpu_seconds", "Processor time of the task.", labels=labels
    )
    memory = GaugeMetricFamily(
        "fetchml_task_memory_bytes", "Memory that the task uses.", labels=labels
    )
    read = CounterMetricFamily(
        "fetchml_task_read_bytes", "Bytes that the task read from disks.", labels=labels
    )
    written = CounterMetricFamily(
        "fetchml_task_written_bytes", "Bytes that the task wrote to disks.", labels=labels
    )
    for each in use:
        named = [each.task_id, each.user]
        cpu.add_metric(named, each.cpu_seconds)
        memory.add_metric(named, each.memory_bytes)
        read.add_metric(named, each.read_bytes)
        written.add_metric(named, each.written_bytes)
    yield from (cpu, memory, read, written)
