"""`/metrics` in the Prometheus text format. docs/contract.md documents the names."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fetchml.access.service import TaskAccess
from fetchml.api.http.reply import Budgets
from fetchml.api.http.router import Route
from fetchml.api.rest.metrics.environments import environment_metrics
from fetchml.api.rest.metrics.gpus import booking_metrics, gpu_metrics, start_metrics
from fetchml.api.rest.metrics.nodes import node_metrics
from fetchml.api.rest.metrics.notifications import notification_metrics
from fetchml.api.rest.metrics.runs import run_metrics
from fetchml.api.rest.metrics.sweeps import sweep_metrics
from fetchml.api.rest.metrics.tasks import task_metrics
from fetchml.attempts.manager import PrestageCounts
from fetchml.auth.limits import CloseReason, ConnectionLimits
from fetchml.core.scheduling.estimate import Calibration
from fetchml.engine.gpus.bookings import BookingCounts
from fetchml.engine.gpus.report import GpuReport
from fetchml.engine.status import RunCounts
from fetchml.engine.sweeps import SweepTotals
from fetchml.environments.environment_service import EnvironmentCounts
from fetchml.notifications.notification_service import NotificationCounts
from fetchml.views import GpuUse, Health, HealthStatus, QueueStats, QueueUse, TaskUse


class ServerState(NamedTuple):
    """Values of metrics that other parts of the server hold."""

    stats: QueueStats
    health: Health
    gpus: GpuReport
    gpu_use: Sequence[GpuUse]
    ahead: PrestageCounts
    calibration: Calibration
    queue_use: QueueUse
    task_use: Sequence[TaskUse]
    notifications: NotificationCounts
    sweeps: SweepTotals
    environments: EnvironmentCounts
    secrets: int
    """Secrets of all users."""
    bookings: BookingCounts
    runs: RunCounts


class Metrics:
    """Builds the metrics from plain counters, and only when they are requested."""

    CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(
        self,
        routes: Callable[[], list[Route]],
        open_streams: Callable[[], int],
        connections: ConnectionLimits,
        budgets: Budgets,
        access: TaskAccess,
    ) -> None:
        self._access = access
        self._routes = routes
        self._open_streams = open_streams
        self._connections = connections
        self._budgets = budgets

    def text(self, state: ServerState) -> bytes:
        """Return all metrics in the Prometheus text format."""
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        registry.register(
            _MetricList(
                [
                    *_queue_metrics(state.stats, state.health),
                    *_queue_memory_metrics(state.queue_use),
                    *gpu_metrics(state.gpus, state.gpu_use),
                    *(node_metrics(state.gpus.nodes) if state.gpus.nodes else ()),
                    *task_metrics(state.task_use),
                    *notification_metrics(state.notifications),
                    *sweep_metrics(state.sweeps),
                    *environment_metrics(state.environments),
                    *booking_metrics(state.bookings),
                    *run_metrics(state.runs),
                    GaugeMetricFamily("fetchml_secrets", "Secrets of all users.", state.secrets),
                    *start_metrics(state.ahead, state.calibration),
                    *self._http_metrics(),
                    *self._access_metrics(),
                    *self._limit_metrics(),
                ]
            )
        )
        return generate_latest(registry)

    def _http_metrics(self) -> Iterator[Metric]:
        labels = ["method", "path"]
        replies = CounterMetricFamily(
            "fetchml_http_replies", "Replies sent.", labels=[*labels, "status"]
        )
        seconds = CounterMetricFamily(
            "fetchml_http_seconds", "Total time from request to reply.", labels=labels
        )
        for route in self._routes():
            for status, count in route.replies.items():
                replies.add_metric([route.method, route.path, str(status)], count)
            if route.replies:
                seconds.add_metric([route.method, route.path], route.seconds)
        yield replies
        yield seconds
        yield GaugeMetricFamily(
            "fetchml_http_streams", "Open /ws and log streams.", self._open_streams()
        )

    def _access_metrics(self) -> Iterator[Metric]:
        held = GaugeMetricFamily("fetchml_access_open", "Open entries of tasks.", labels=["of"])
        begun = CounterMetricFamily(
            "fetchml_access_opened", "Entries of tasks since the start.", labels=["of"]
        )
        for name, places in self._access.places.items():
            held.add_metric([name], len(places))
            begun.add_metric([name], places.opened)
        yield held
        yield begun

    def _limit_metrics(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "fetchml_http_connections", "Open connections.", len(self._connections)
        )
        ended = CounterMetricFamily(
            "fetchml_http_connections_ended",
            "Connections that the server refused or dropped.",
            labels=["reason"],
        )
        for reason in CloseReason:
            ended.add_metric([reason], self._connections.ended[reason])
        yield ended
        held = GaugeMetricFamily("fetchml_http_held_bytes", "Bytes in memory.", labels=["of"])
        refused = CounterMetricFamily(
            "fetchml_http_held_refused", "Requests rejected by that limit.", labels=["of"]
        )
        for name, budget in vars(self._budgets).items():
            held.add_metric([name], budget.total)
            refused.add_metric([name], budget.refused)
        yield held
        yield refused


def _queue_metrics(stats: QueueStats, health: Health) -> Iterator[Metric]:
    yield GaugeMetricFamily("fetchml_tasks_queued", "Queued tasks.", stats.queued)
    yield GaugeMetricFamily("fetchml_tasks_running", "Tasks that hold a slot.", stats.running)
    yield GaugeMetricFamily(
        "fetchml_tasks_completed_today", "Tasks completed today.", stats.completed
    )
    yield GaugeMetricFamily("fetchml_tasks_failed_today", "Tasks failed today.", stats.failed)
    yield GaugeMetricFamily("fetchml_workers", "Executors that take work.", stats.workers)
    status = GaugeMetricFamily("fetchml_health", "1 for the current status.", labels=["status"])
    for state in HealthStatus:
        status.add_metric([state], float(health.status is state))
    yield status


def _queue_memory_metrics(use: QueueUse) -> Iterator[Metric]:
    yield GaugeMetricFamily("fetchml_queue_bytes", "Memory of unfinished tasks.", use.bytes)
    yield GaugeMetricFamily("fetchml_queue_limit_bytes", "Limit of that memory.", use.most_bytes)
    yield CounterMetricFamily(
        "fetchml_queue_refusals", "Submissions rejected by a quota or a full queue.", use.refused
    )


class _MetricList(Collector):
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics
