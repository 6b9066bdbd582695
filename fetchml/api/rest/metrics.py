"""`/metrics` in the Prometheus text format. docs/contract.md documents the names."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fetchml.access.service import TaskAccess
from fetchml.api.http.reply import Budgets
from fetchml.api.http.router import Route
from fetchml.attempts.checkpoints import CheckpointCounts
from fetchml.attempts.manager import PrestageCounts
from fetchml.auth.limits import CloseReason, ConnectionLimits
from fetchml.core.model import Status
from fetchml.core.scheduling.estimate import Calibration
from fetchml.engine.gpus.bookings import BookingCounts
from fetchml.engine.gpus.report import GpuCondition, GpuReport, NodeStatus
from fetchml.engine.status import RunCounts
from fetchml.engine.sweeps import SweepTotals
from fetchml.environments.environment_service import EnvironmentCounts
from fetchml.files.volume_usage import VolumeReport
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
        for name, limit in self._access.limits.items():
            held.add_metric([name], len(limit))
            begun.add_metric([name], limit.opened)
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


MIB = 1 << 20


def gpu_metrics(report: GpuReport, use: Iterable[GpuUse]) -> Iterator[Metric]:
    """Yield the metrics of GPUs and of the GPU time of running tasks."""
    labels = ["gpu", "name"]
    state = GaugeMetricFamily(
        "fetchml_gpu_state", "1 for the current state of the GPU.", labels=[*labels, "state"]
    )
    memory = GaugeMetricFamily("fetchml_gpu_memory_bytes", "Memory of the GPU.", labels=labels)
    used = GaugeMetricFamily("fetchml_gpu_memory_used_bytes", "Memory in use.", labels=labels)
    busy = GaugeMetricFamily(
        "fetchml_gpu_utilisation_ratio", "Fraction of time the GPU was computing.", labels=labels
    )
    warm = GaugeMetricFamily("fetchml_gpu_temperature_celsius", "Temperature.", labels=labels)
    power = GaugeMetricFamily("fetchml_gpu_power_watts", "Power of the GPU.", labels=labels)
    for status in report.gpus if not report.nodes else ():  # Of a cluster: node_metrics.
        gpu, reading = status.gpu, status.reading
        named = [gpu.uuid, gpu.name]
        for condition in GpuCondition:
            state.add_metric([*named, condition], float(status.condition is condition))
        if gpu.memory_mb:
            memory.add_metric(named, gpu.memory_mb * MIB)
        if reading is None:
            continue
        if reading.used_mb is not None:
            used.add_metric(named, reading.used_mb * MIB)
        if reading.utilisation_percent is not None:
            busy.add_metric(named, reading.utilisation_percent / 100)
        if reading.temperature_c is not None:
            warm.add_metric(named, reading.temperature_c)
        if reading.power_w is not None:
            power.add_metric(named, reading.power_w)
    yield from (state, memory, used, busy, warm, power)
    if report.packing is not None:
        yield CounterMetricFamily(
            "fetchml_gpu_packed_starts",
            "Tasks that were started beside others on a GPU.",
            report.packing.starts,
        )
        yield CounterMetricFamily(
            "fetchml_gpu_packed_out_of_memory",
            "Attempts that ran out of GPU memory beside others.",
            report.packing.exhausted,
        )
    seconds = GaugeMetricFamily(
        "fetchml_task_gpu_seconds",
        "GPU time of the task in this attempt.",
        labels=["task_id", "user"],
    )
    idle = GaugeMetricFamily(
        "fetchml_task_gpu_idle_seconds",
        "Time since which the task leaves its GPUs idle; 0 if it uses them.",
        labels=["task_id", "user"],
    )
    for each in use:
        seconds.add_metric([each.task_id, each.user], each.gpu_seconds)
        idle.add_metric([each.task_id, each.user], each.idle_seconds)
    yield from (seconds, idle)


def booking_metrics(counts: BookingCounts) -> Iterator[Metric]:
    """Yield the numbers of reservations of all users together."""
    yield GaugeMetricFamily(
        "fetchml_bookings", "Reservations that have not ended.", counts.bookings
    )
    yield GaugeMetricFamily(
        "fetchml_bookings_active", "Reservations that have begun.", counts.active
    )


def start_metrics(ahead: PrestageCounts, calibration: Calibration) -> Iterator[Metric]:
    """Yield the metrics of prestaging and of start time estimates."""
    attempts = CounterMetricFamily(
        "fetchml_attempts", "Attempts that were prepared.", labels=["how"]
    )
    attempts.add_metric(["ahead"], ahead.prestaged)
    attempts.add_metric(["ordinary"], ahead.ordinary)
    yield attempts
    came = CounterMetricFamily(
        "fetchml_prepared_ahead", "Outcomes of prestaged attempts.", labels=["came_to"]
    )
    came.add_metric(["started"], ahead.opened)
    came.add_metric(["thrown_away"], ahead.discarded)
    yield came
    yield CounterMetricFamily(
        "fetchml_not_ahead_again",
        "Ordinary attempts of tasks that were discarded too often to be prestaged again.",
        ahead.not_again,
    )
    held = CounterMetricFamily(
        "fetchml_estimates_held", "Tasks that started by the estimated time.", labels=["by"]
    )
    held.add_metric(["p50"], calibration.by_p50)
    held.add_metric(["p90"], calibration.by_p90)
    yield held
    yield CounterMetricFamily(
        "fetchml_estimates_checked", "Estimated tasks that have started.", calibration.tasks
    )


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


def notification_metrics(counts: NotificationCounts) -> Iterator[Metric]:
    """Yield the numbers of messages of all users together."""
    rows = GaugeMetricFamily(
        "fetchml_notifications", "Messages that are not delivered.", labels=["state"]
    )
    rows.add_metric(["pending"], counts.pending)
    rows.add_metric(["dead"], counts.dead)
    yield rows
    yield CounterMetricFamily(
        "fetchml_notifications_delivered", "Messages delivered.", counts.delivered
    )
    yield CounterMetricFamily(
        "fetchml_notifications_failed_attempts", "Attempts that failed.", counts.failed_attempts
    )
    yield CounterMetricFamily(
        "fetchml_notifications_dropped", "Messages dropped for lack of room.", counts.dropped
    )


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
