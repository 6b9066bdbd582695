"""The fields that REST and gRPC show of every type, except those of `Task`."""

import math
import os
from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.struct_pb2 import ListValue

from fetchml.api.mapping import (
    EncodeRows,
    Field,
    LongRows,
    Mapping,
    Nested,
    Reply,
    Rows,
    Time,
    status_fields,
)
from fetchml.api.task_json import target_json, task_json
from fetchml.api.task_messages import target_message, task_message
from fetchml.core import notification_outbox
from fetchml.core.audit import AuditEntry
from fetchml.core.bookings.booking import Booking
from fetchml.core.comparison import Difference, Section, TaskDiff
from fetchml.core.gpus.health import GpuProcess
from fetchml.core.model import Key, Task
from fetchml.core.notification_outbox import Delivery, DeliveryState
from fetchml.core.requests.pruning import Pruned
from fetchml.core.requests.secrets import Secret
from fetchml.core.snapshots import Entry, EntryKind, Snapshot
from fetchml.core.sql_views import Column, View
from fetchml.core.storage import Kind, Used
from fetchml.core.tracking import Curve, Point, RunPage, RunView
from fetchml.core.usage import DayUse, GpuHold, UserDay
from fetchml.core.whatif.report import Outcome, Waits
from fetchml.core.whatif.whatif import Changed, WhatIf
from fetchml.engine.experiments import ExperimentView
from fetchml.engine.gpus.report import GpuReport, GpuStatus, NodeStatus
from fetchml.engine.retention import StorageReport
from fetchml.engine.sweeps import SweepChange, SweepPage, SweepResult, SweepResults, SweepView
from fetchml.engine.usage.history import DaysOfUse, GpuHistory, GpuTrack
from fetchml.environments.environment_service import CachedEnvironment, EnvironmentPage
from fetchml.files.storage_usage import UserStorage
from fetchml.files.volume_usage import VolumeReport
from fetchml.history.history_service import QueryResult
from fetchml.notifications.notification_service import (
    NotificationPage,
    NotificationSettings,
    TestResult,
    WebhookSecret,
)
from fetchml.ports.usage_store import GpuPoint, TaskHistory, TaskPoint
from fetchml.snapshots.snapshot_service import FileList
from fetchml.system.pacing import map_paced
from fetchml.v1 import (
    access_pb2,
    audit_pb2,
    environment_pb2,
    experiment_pb2,
    gpu_pb2,
    history_pb2,
    jupyter_pb2,
    key_pb2,
    notification_pb2,
    queue_pb2,
    reproduce_pb2,
    secret_pb2,
    server_pb2,
    snapshot_pb2,
    storage_pb2,
    sweep_pb2,
    task_pb2,
    tracking_pb2,
    usage_pb2,
)
from fetchml.views import (
    ExperimentResult,
    ExperimentResults,
    Explanation,
    Finding,
    Interruption,
    JupyterView,
    LogInfo,
    LogMatch,
    LogMatches,
    LogTime,
    OutputFile,
    QueueStats,
    Quotas,
    ServerInfo,
    Shortage,
    StartEstimate,
    TaskPortLink,
)


def _itself(value: Any) -> Any:
    return value


class _TaskReply(Reply):
    async def json_paced(self, value: Task, rows: EncodeRows, *, full: bool = False) -> object:
        return task_json(value, full=full)

    async def message_paced(self, value: Task, *, full: bool = False) -> task_pb2.Task:
        return task_message(value, full=full)


TASK = _TaskReply()

QUEUE: Mapping[QueueStats, queue_pb2.QueueStats] = Mapping(queue_pb2.QueueStats)

SHORTAGE: Mapping[Shortage, task_pb2.TaskExplanation.ResourceShortage] = Mapping(
    task_pb2.TaskExplanation.ResourceShortage, Field("blocked", keep_empty=False)
)

ESTIMATE: Mapping[StartEstimate, task_pb2.TaskExplanation.StartEstimate] = Mapping(
    task_pb2.TaskExplanation.StartEstimate, Field("checked", keep_empty=False)
)

EXPLANATION: Mapping[Explanation, task_pb2.TaskExplanation] = Mapping(
    task_pb2.TaskExplanation, Rows("missing", SHORTAGE), Nested("estimate", ESTIMATE)
)

AUDIT_ENTRY: Mapping[AuditEntry, audit_pb2.AuditEntry] = Mapping(
    audit_pb2.AuditEntry, Field("user_id", "user"), Field("address", keep_empty=False)
)

AUDIT_LIST: Mapping[Sequence[AuditEntry], audit_pb2.AuditList] = Mapping(
    audit_pb2.AuditList, LongRows("entries", AUDIT_ENTRY, _itself)
)

LOG_TIME: Mapping[LogTime, task_pb2.TaskLogInfo.LogTime] = Mapping(task_pb2.TaskLogInfo.LogTime)

LOG_INFO: Mapping[LogInfo, task_pb2.TaskLogInfo] = Mapping(
    task_pb2.TaskLogInfo, Rows("times", LOG_TIME, keep_empty=True)
)

LOG_MATCH: Mapping[LogMatch, task_pb2.TaskLogMatches.Match] = Mapping(task_pb2.TaskLogMatches.Match)

LOG_MATCHES: Mapping[LogMatches, task_pb2.TaskLogMatches] = Mapping(
    task_pb2.TaskLogMatches, LongRows("matches", LOG_MATCH)
)

_DIFFERENCE: Mapping[Difference, reproduce_pb2.TaskDiff.Change] = Mapping(
    reproduce_pb2.TaskDiff.Change
)

_SECTION: Mapping[Section, reproduce_pb2.TaskDiff.Section] = Mapping(
    reproduce_pb2.TaskDiff.Section,
    LongRows("changes", _DIFFERENCE),
    Field("omitted", keep_empty=False),
)

TASK_DIFF: Mapping[TaskDiff, reproduce_pb2.TaskDiff] = Mapping(
    reproduce_pb2.TaskDiff, LongRows("sections", _SECTION)
)

PACKAGES: Mapping[Sequence[str], reproduce_pb2.TaskPackages] = Mapping(
    reproduce_pb2.TaskPackages, Field("packages", _itself)
)

INTERRUPTION: Mapping[Interruption, task_pb2.TaskInterruption] = Mapping(task_pb2.TaskInterruption)

OUTPUT: Mapping[OutputFile, task_pb2.TaskOutput] = Mapping(
    task_pb2.TaskOutput,
    # A task may give a file any bytes as its name; JSON and protobuf take only UTF-8.
    Field("path", lambda file: os.fsencode(file.path).decode("utf-8", "replace")),
)

SNAPSHOT: Mapping[Snapshot, snapshot_pb2.Snapshot] = Mapping(
    snapshot_pb2.Snapshot, Field("user_ids", "users")
)

JUPYTER_SERVICE: Mapping[JupyterView, jupyter_pb2.JupyterServiceInfo] = Mapping(
    jupyter_pb2.JupyterServiceInfo,
    Field("user_id", "user", full=True),
    full=(
        "image",
        "workspace",
        "cpu",
        "memory_gb",
        "gpu",
        "reason",
        "started_at",
        "ended_at",
        "last_activity",
        "stops_at",
    ),
)

GPU_PROCESS: Mapping[GpuProcess, gpu_pb2.GpuProcess] = Mapping(
    gpu_pb2.GpuProcess, Field("name", keep_empty=False)
)

GPU: Mapping[GpuStatus, gpu_pb2.Gpu] = Mapping(
    gpu_pb2.Gpu,
    Field("uuid", "gpu.uuid"),
    Field("name", "gpu.name", keep_empty=False),
    Field("state", "condition"),
    Field("task_ids", "held_by", keep_empty=False),
    Field("memory_mb", "gpu.memory_mb", keep_empty=False),
    Field("parent_uuid", "gpu.parent"),
    Field("memory_used_mb", lambda status: status.reading and status.reading.used_mb),
    Field("temperature_c", lambda status: status.reading and status.reading.temperature_c),
    Field(
        "utilisation_percent", lambda status: status.reading and status.reading.utilisation_percent
    ),
    Rows("processes", GPU_PROCESS, lambda status: status.reading and status.reading.processes),
)

NODE: Mapping[NodeStatus, gpu_pb2.Node] = Mapping(
    gpu_pb2.Node,
    Field("state", lambda status: "+".join(status.node.state).lower()),
    Field("gpu_name", "node.gpu_name", keep_empty=False),
    Field("partitions", "node.partitions", keep_empty=False),
    Field("task_ids", keep_empty=False),
    of="node",
)

GPUS: Mapping[GpuReport, gpu_pb2.GpuList] = Mapping(
    gpu_pb2.GpuList,
    Rows("gpus", GPU, keep_empty=True),
    Field("notes", keep_empty=False),
    Rows("nodes", NODE),
)

KEY: Mapping[Key, key_pb2.Key] = Mapping(key_pb2.Key)

KEYS: Mapping[Sequence[Key], key_pb2.ListKeysResponse] = Mapping(
    key_pb2.ListKeysResponse, LongRows("keys", KEY, _itself)
)

NEW_KEY: Mapping[tuple[Key, str], key_pb2.CreateKeyResponse] = Mapping(
    key_pb2.CreateKeyResponse,
    Nested("key", KEY, lambda made: made[0]),
    Field("secret", lambda made: made[1]),
)

SIGN_IN_CODE: Mapping[tuple[str, str, int], key_pb2.CreateSignInCodeResponse] = Mapping(
    key_pb2.CreateSignInCodeResponse,
    Field("code", lambda made: made[0]),
    Field("url", lambda made: made[1]),
    Time("expires_at", lambda made: made[2]),
)

SECRET: Mapping[Secret, secret_pb2.Secret] = Mapping(secret_pb2.Secret)

SECRETS: Mapping[Sequence[Secret], secret_pb2.ListSecretsResponse] = Mapping(
    secret_pb2.ListSecretsResponse, LongRows("secrets", SECRET, _itself)
)

STORAGE_USE: Mapping[tuple[Kind, Used], storage_pb2.StorageUse] = Mapping(
    storage_pb2.StorageUse,
    Field("kind", lambda use: use[0].value),
    Field("bytes", lambda use: use[1].bytes),
    Field("files", lambda use: use[1].files),
)

USER_STORAGE: Mapping[UserStorage, storage_pb2.UserStorage] = Mapping(
    storage_pb2.UserStorage,
    Field("user_id", "user"),
    Field("bytes", "total.bytes"),
    Field("files", "total.files"),
    Rows("kinds", STORAGE_USE, lambda user: list(user.used.items()), keep_empty=True),
)

VOLUME_STORAGE: Mapping[VolumeReport, storage_pb2.VolumeStorage] = Mapping(
    storage_pb2.VolumeStorage,
    Field("max_bytes", keep_empty=False),
    Field("bytes", lambda volume: volume.used and volume.used.bytes),
    Field("files", lambda volume: volume.used and volume.used.files),
)

STORAGE: Mapping[StorageReport, storage_pb2.StorageReport] = Mapping(
    storage_pb2.StorageReport,
    Rows("users", USER_STORAGE, keep_empty=True),
    Field("allowed_bytes", keep_empty=False),
    Rows("volumes", VOLUME_STORAGE, keep_empty=True),
)

PRUNED: Mapping[Pruned, storage_pb2.PruneStorageResponse] = Mapping(
    storage_pb2.PruneStorageResponse
)

TASK_LIMITS: Mapping[ServerInfo, server_pb2.TaskLimits] = Mapping(
    server_pb2.TaskLimits, Field("max_retries"), of="task_limits"
)

QUOTAS: Mapping[Quotas, server_pb2.Quotas] = Mapping(server_pb2.Quotas)

SERVER: Mapping[ServerInfo, server_pb2.ServerInfo] = Mapping(
    server_pb2.ServerInfo,
    Nested("task_limits", TASK_LIMITS, lambda info: info),
    Nested("quotas", QUOTAS),
    Field("user_id", "user"),
)

FINDING: Mapping[Finding, server_pb2.Finding] = Mapping(
    server_pb2.Finding, Field("fix", keep_empty=False), Field("advice", keep_empty=False)
)

DOCTOR: Mapping[Sequence[Finding], server_pb2.DoctorReport] = Mapping(
    server_pb2.DoctorReport,
    Field("ok", lambda findings: all(each.ok for each in findings)),
    Rows("findings", FINDING, _itself, keep_empty=True),
)

_IS_LINK = EntryKind.LINK

SNAPSHOT_FILE: Mapping[Entry, snapshot_pb2.SnapshotFile] = Mapping(
    snapshot_pb2.SnapshotFile,
    Field("size_bytes", lambda entry: None if entry.kind is _IS_LINK else entry.size),
    Field("sha256", lambda entry: None if entry.kind is _IS_LINK else entry.content),
    Field("target", lambda entry: entry.content if entry.kind is _IS_LINK else None),
)

SNAPSHOT_FILES: Mapping[FileList, snapshot_pb2.ListSnapshotFilesResponse] = Mapping(
    snapshot_pb2.ListSnapshotFilesResponse, LongRows("files", SNAPSHOT_FILE)
)

TASK_PORT_LINK: Mapping[TaskPortLink, access_pb2.TaskPortLink] = Mapping(access_pb2.TaskPortLink)


BOOKING: Mapping[Booking, gpu_pb2.Booking] = Mapping(
    gpu_pb2.Booking,
    Field("user_id", "user", keep_empty=False),
    Field("created_by", keep_empty=False),
)

BOOKINGS: Mapping[Sequence[Booking], gpu_pb2.ListBookingsResponse] = Mapping(
    gpu_pb2.ListBookingsResponse, LongRows("bookings", BOOKING, _itself)
)


KEPT_ENVIRONMENT: Mapping[CachedEnvironment, environment_pb2.KeptEnvironment] = Mapping(
    environment_pb2.KeptEnvironment,
    Field("user_id", "record.user"),
    Field("snapshot_id", "record.snapshot_id", keep_empty=False),
    Field("tasks"),
    Time("last_used_at", lambda kept: kept.record.used_ns // 1_000_000),
    of="record",
)

ENVIRONMENTS: Mapping[EnvironmentPage, environment_pb2.ListEnvironmentsResponse] = Mapping(
    environment_pb2.ListEnvironmentsResponse, LongRows("environments", KEPT_ENVIRONMENT)
)


_EXPERIMENT_COUNTS: Mapping[ExperimentView, experiment_pb2.Experiment.Counts] = Mapping(
    experiment_pb2.Experiment.Counts, *status_fields()
)

EXPERIMENT: Mapping[ExperimentView, experiment_pb2.Experiment] = Mapping(
    experiment_pb2.Experiment,
    Field("user_id", "experiment.user", full=True),
    Nested("counts", _EXPERIMENT_COUNTS, lambda view: view, full=True),
    of="experiment",
    full=("description",),
)

RESULT: Mapping[ExperimentResult, experiment_pb2.ExperimentResult] = Mapping(
    experiment_pb2.ExperimentResult,
    Field("task_id", "task.id"),
    Field("job_name", "task.spec.job_name"),
    Field("status", "task.shown_status"),
    Field("command", "task.spec.command"),
    Field("args", "task.spec.args"),
    Field("metadata", "task.spec.metadata", keep_empty=False),
    Field("metrics", keep_empty=False),
    Field("snapshot_id", "task.spec.snapshot_id"),
    Field("user_id", "task.user"),
    of="task",
)

RESULTS: Mapping[ExperimentResults, experiment_pb2.ListExperimentResultsResponse] = Mapping(
    experiment_pb2.ListExperimentResultsResponse, LongRows("results", RESULT)
)


def _state(row: Delivery) -> DeliveryState:
    return DeliveryState.PENDING if row.dead_at is None else DeliveryState.DEAD


NOTIFICATION: Mapping[Delivery, notification_pb2.Notification] = Mapping(
    notification_pb2.Notification,
    Field("state", _state),
    Field("task_id", keep_empty=False),
    Field("sweep_id", keep_empty=False),
    Time("next_at", lambda row: row.next_at if row.dead_at is None else None),
    Field("last_error", "error"),
    Field("of_server", lambda row: row.user == notification_outbox.SERVER, keep_empty=False),
)

NOTIFICATIONS: Mapping[NotificationPage, notification_pb2.ListNotificationsResponse] = Mapping(
    notification_pb2.ListNotificationsResponse, LongRows("notifications", NOTIFICATION)
)


class _Targets(Field):
    """Addresses with their whole URLs, which only their owner gets."""

    def json(self, value: Any) -> object:
        return [target_json(each, each.url) for each in value]

    def message(self, value: Any) -> object:
        return [target_message(each, each.url) for each in value]


SETTINGS: Mapping[NotificationSettings, notification_pb2.NotificationSettings] = Mapping(
    notification_pb2.NotificationSettings, _Targets("notify")
)

WEBHOOK_SECRET: Mapping[WebhookSecret, notification_pb2.WebhookSecret] = Mapping(
    notification_pb2.WebhookSecret
)

TEST_RESULT: Mapping[TestResult, notification_pb2.TestNotificationResponse] = Mapping(
    notification_pb2.TestNotificationResponse
)


_SWEEP_COUNTS: Mapping[SweepView, sweep_pb2.Sweep.Counts] = Mapping(
    sweep_pb2.Sweep.Counts, *status_fields()
)

SWEEP: Mapping[SweepView, sweep_pb2.Sweep] = Mapping(
    sweep_pb2.Sweep,
    Field("user_id", "sweep.user"),
    Nested("counts", _SWEEP_COUNTS, lambda view: view),
    of="sweep",
    without=("tasks",),
)

SWEEPS: Mapping[SweepPage, sweep_pb2.ListSweepsResponse] = Mapping(
    sweep_pb2.ListSweepsResponse, LongRows("sweeps", SWEEP)
)

CANCELLED: Mapping[SweepChange, sweep_pb2.CancelSweepResponse] = Mapping(
    sweep_pb2.CancelSweepResponse, Nested("sweep", SWEEP)
)

RETRIED: Mapping[SweepChange, sweep_pb2.RetrySweepResponse] = Mapping(
    sweep_pb2.RetrySweepResponse, Nested("sweep", SWEEP)
)

_RESULT: Mapping[SweepResult, sweep_pb2.ListBestTasksResponse.Result] = Mapping(
    sweep_pb2.ListBestTasksResponse.Result,
    Field("task_id", "task.id"),
    Field("sweep_index", "task.spec.sweep.index"),
    Field("parameters", "task.spec.sweep.parameters"),
    Field("value"),
    Field("metrics"),
    of="task",
)

BEST: Mapping[SweepResults, sweep_pb2.ListBestTasksResponse] = Mapping(
    sweep_pb2.ListBestTasksResponse,
    Rows("results", _RESULT, keep_empty=True),
)


_HOUR_MS = 3_600_000
_DECIMALS = 3


def _scaled(name: str, parts: float) -> Callable[[object], float | None]:
    """Return a function for an attribute that is counted in parts of a unit."""

    def value(owner: object) -> float | None:
        amount: float | None = getattr(owner, name)
        return None if amount is None else round(amount / parts, _DECIMALS)

    return value


def _both(field: str, name: str, parts: float) -> tuple[Field, Field]:
    """The average and the maximum."""
    return (
        Field(field, _scaled(name, parts)),
        Field(f"{field}_max", _scaled(f"{name}_max", parts)),
    )


TASK_POINT: Mapping[TaskPoint, usage_pb2.TaskUsagePoint] = Mapping(
    usage_pb2.TaskUsagePoint,
    *_both("cpu_cores", "cpu", 100),
    *_both("memory_mb", "memory", 16),
    *_both("read_mb_per_second", "read", 1024),
    *_both("write_mb_per_second", "write", 1024),
)

TASK_USAGE: Mapping[TaskHistory, usage_pb2.TaskUsage] = Mapping(
    usage_pb2.TaskUsage,
    Time("since", lambda history: history.since if history.points else None),
    Time("until", lambda history: history.until if history.points else None),
    Field("step_seconds", lambda history: history.step // 1000),
    LongRows("points", TASK_POINT),
    Nested("total", TASK_POINT),
)

GPU_POINT: Mapping[GpuPoint, usage_pb2.GpuPoint] = Mapping(
    usage_pb2.GpuPoint,
    Field("held_percent", _scaled("held", 1 / 100)),
    *_both("utilisation_percent", "utilisation", 1),
    *_both("memory_used_mb", "memory", 1),
    *_both("temperature_c", "temperature", 1),
    *_both("power_w", "power", 1),
)

GPU_HOLD: Mapping[GpuHold, usage_pb2.GpuHold] = Mapping(usage_pb2.GpuHold, Field("user_id", "user"))

GPU_TRACK: Mapping[GpuTrack, usage_pb2.GpuTrack] = Mapping(
    usage_pb2.GpuTrack,
    Field("name", keep_empty=False),
    LongRows("points", GPU_POINT),
    LongRows("holds", GPU_HOLD),
)

GPU_HISTORY: Mapping[GpuHistory, usage_pb2.GpuHistory] = Mapping(
    usage_pb2.GpuHistory,
    Field("step_seconds", lambda history: history.step // 1000),
    LongRows("gpus", GPU_TRACK),
)

GPU_HOURS: Mapping[tuple[UserDay, DayUse], usage_pb2.GpuHours] = Mapping(
    usage_pb2.GpuHours,
    Field("day", lambda row: row[0].day),
    Field("user_id", lambda row: row[0].user),
    Field("gpu_hours", lambda row: round(row[1].gpu_ms / _HOUR_MS, _DECIMALS)),
    Field("cpu_hours", lambda row: round(row[1].cpu_ms / _HOUR_MS, _DECIMALS)),
    Field("completed", lambda row: row[1].completed),
    Field("failed", lambda row: row[1].failed),
)

GPU_HOURS_LIST: Mapping[DaysOfUse, usage_pb2.GpuHoursList] = Mapping(
    usage_pb2.GpuHoursList,
    Field("first_day", "first"),
    Field("last_day", "last"),
    LongRows("days", GPU_HOURS, "rows"),
)


def _not_a_number(point: Point) -> str | None:
    if math.isfinite(point.value):
        return None
    return "NaN" if math.isnan(point.value) else "Infinity" if point.value > 0 else "-Infinity"


LATEST_POINT: Mapping[Point, tracking_pb2.LatestPoint] = Mapping(
    tracking_pb2.LatestPoint,
    Field("name", "key"),
    Field("value", lambda point: point.value if math.isfinite(point.value) else None),
    Field("not_a_number", _not_a_number),
)

RUN: Mapping[RunView, tracking_pb2.Run] = Mapping(
    tracking_pb2.Run,
    Field("user_id", "run.user"),
    Field("status", lambda view: view.run.status.lower()),
    Rows("metrics", LATEST_POINT, "metrics", keep_empty=True),
    Field("params", "params"),
    Field("tags", "tags"),
    of="run",
)

RUNS: Mapping[RunPage, tracking_pb2.ListRunsResponse] = Mapping(
    tracking_pb2.ListRunsResponse,
    LongRows("runs", RUN),
    Field("next_page_token", keep_empty=False),
)

CURVE: Mapping[Curve, tracking_pb2.Curve] = Mapping(tracking_pb2.Curve)

CURVES: Mapping[list[Curve], tracking_pb2.Curves] = Mapping(
    tracking_pb2.Curves, LongRows("curves", CURVE, lambda curves: curves)
)

HISTORY_COLUMN: Mapping[Column, history_pb2.HistoryColumn] = Mapping(history_pb2.HistoryColumn)

HISTORY_VIEW: Mapping[View, history_pb2.HistoryView] = Mapping(
    history_pb2.HistoryView, Rows("columns", HISTORY_COLUMN)
)

HISTORY_VIEWS: Mapping[list[View], history_pb2.ListHistoryViewsResponse] = Mapping(
    history_pb2.ListHistoryViewsResponse, Rows("views", HISTORY_VIEW, _itself)
)


class _ResultRows(Field):
    """Rows of values of any type."""

    async def json_paced(self, value: list[list[Any]], rows: EncodeRows) -> object:
        return await rows(_itself, value)

    async def message_paced(self, value: list[list[Any]]) -> object:
        return await map_paced(_list_value, value)


def _list_value(row: list[Any]) -> ListValue:
    message = ListValue()
    message.extend(row)
    return message


HISTORY_ROWS: Mapping[QueryResult, history_pb2.QueryHistoryRowsResponse] = Mapping(
    history_pb2.QueryHistoryRowsResponse,
    Rows("columns", HISTORY_COLUMN),
    _ResultRows("rows"),
)

REPLAY_CHANGE: Mapping[Changed, history_pb2.ReplayHistoryResponse.Change] = Mapping(
    history_pb2.ReplayHistoryResponse.Change
)

REPLAY_WAITS: Mapping[Waits, history_pb2.ReplayHistoryResponse.Waits] = Mapping(
    history_pb2.ReplayHistoryResponse.Waits, Field("user_id", "user")
)

REPLAY_OUTCOME: Mapping[Outcome, history_pb2.ReplayHistoryResponse.Outcome] = Mapping(
    history_pb2.ReplayHistoryResponse.Outcome,
    Nested("waits", REPLAY_WAITS),
    Rows("users", REPLAY_WAITS, keep_empty=True),
)

REPLAY: Mapping[WhatIf, history_pb2.ReplayHistoryResponse] = Mapping(
    history_pb2.ReplayHistoryResponse,
    Rows("changes", REPLAY_CHANGE, keep_empty=True),
    Nested("recorded", REPLAY_OUTCOME),
    Nested("replayed", REPLAY_OUTCOME),
)
