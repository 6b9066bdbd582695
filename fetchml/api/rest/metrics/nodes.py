"""Metrics of a cluster's nodes."""

from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from fetchml.engine.gpus.report import NodeStatus


def node_metrics(nodes: Iterable[NodeStatus]) -> Iterator[Metric]:
    """Yield the metrics of nodes. Their GPUs are counted, not listed: there may be thousands."""
    takes_work = GaugeMetricFamily(
        "fetchml_node_takes_work", "1 if jobs can start on the node.", labels=["node"]
    )
    families = {
        "gpu": GaugeMetricFamily("fetchml_node_gpus", "GPUs of the node.", labels=["node"]),
        "gpu_used": GaugeMetricFamily(
            "fetchml_node_gpus_used", "GPUs that jobs have.", labels=["node"]
        ),
        "cpu": GaugeMetricFamily("fetchml_node_cpus", "Cores of the node.", labels=["node"]),
        "cpu_used": GaugeMetricFamily(
            "fetchml_node_cpus_used", "Cores that jobs have.", labels=["node"]
        ),
    }
    for status in nodes:
        takes_work.add_metric([status.node.name], float(status.node.takes_work))
        for name, family in families.items():
            family.add_metric([status.node.name], getattr(status.node, name))
    yield takes_work
    yield from families.values()
