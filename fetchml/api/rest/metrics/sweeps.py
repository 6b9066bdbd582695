"""Metrics of sweeps."""

from collections.abc import Iterator

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from fetchml.core.model import Status
from fetchml.engine.sweeps import SweepTotals


def sweep_metrics(totals: SweepTotals) -> Iterator[Metric]:
    """Yield the numbers of sweeps, and of their tasks, of all users together."""
    yield GaugeMetricFamily("fetchml_sweeps", "Sweeps.", totals.sweeps)
    yield GaugeMetricFamily(
        "fetchml_sweeps_open", "Sweeps with tasks that have not ended.", totals.open
    )
    tasks = GaugeMetricFamily("fetchml_sweep_tasks", "Tasks of all sweeps.", labels=["status"])
    for status in Status:
        tasks.add_metric([status], totals.tasks.get(status, 0))
    yield tasks
