"""Metrics of environments."""

from collections.abc import Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from fetchml.environments.environment_service import EnvironmentCounts


def environment_metrics(counts: EnvironmentCounts) -> Iterator[Metric]:
    """Yield the numbers of environments of all users together."""
    yield GaugeMetricFamily("fetchml_environments", "Complete environments.", counts.built)
    yield GaugeMetricFamily(
        "fetchml_environments_building", "Builds under way or waiting.", counts.building
    )
    yield GaugeMetricFamily(
        "fetchml_environments_bytes", "Size of environments and uv's caches.", counts.bytes
    )
    found = CounterMetricFamily(
        "fetchml_environments_provided", "Attempts with an environment.", labels=["how"]
    )
    found.add_metric(["hit"], counts.hits)
    found.add_metric(["miss"], counts.misses)
    yield found
    yield CounterMetricFamily(
        "fetchml_environments_failures", "Builds that failed.", counts.failures
    )
    yield CounterMetricFamily(
        "fetchml_environments_evicted", "Environments removed to make room.", counts.evicted
    )
