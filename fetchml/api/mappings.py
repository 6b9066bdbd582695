"""The fields that REST and gRPC show of every type except `Task`."""

import os
from collections.abc import Sequence

from fetchml.api.mapping import Field, Mapping, Nested, Rows, Time
from fetchml.core.audit import AuditEntry
from fetchml.core.gpus.health import GpuProcess
from fetchml.core.model import Key
from fetchml.core.requests.experiment import Experiment
from fetchml.core.requests.pruning import Pruned
from fetchml.core.requests.secrets import Secret
from fetchml.core.requests.snapshot import Entry, EntryKind, Snapshot
from fetchml.core.storage import Kind, Used
from fetchml.engine.gpus.report import GpuReport, GpuStatus, NodeStatus
from fetchml.engine.retention import StorageReport
from fetchml.files.storage_usage import UserStorage
from fetchml.v1 import (
    access_pb2,
    audit_pb2,
    experiment_pb2,
    gpu_pb2,
    jupyter_pb2,
    key_pb2,
    queue_pb2,
    secret_pb2,
    server_pb2,
    snapshot_pb2,
    storage_pb2,
    task_pb2,
)
from fetchml.views import (
    ExperimentResult,
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

EXPERIMENT: Mapping[Experiment, experiment_pb2.Experiment] = Mapping(
    experiment_pb2.Experiment,
    Field("id"),
    Field("name"),
    Time("created_at"),
    Field("status"),
    Field("commit_id"),
    Field("user_id", "user", full=True),
    Field("description", full=True),
)

QUEUE: Mapping[QueueStats, queue_pb2.QueueStats] = Mapping(
    queue_pb2.QueueStats,
    Field("queued"),
    Field("running"),
    Field("completed"),
    Field("failed"),
    Field("workers"),
)

SHORTAGE: Mapping[Shortage, task_pb2.TaskExplanation.ResourceShortage] = Mapping(
    task_pb2.TaskExplanation.ResourceShortage,
    Field("resource"),
    Field("requested"),
    Field("free"),
    Field("total"),
    Field("blocked", keep_empty=False),
)

ESTIMATE: Mapping[StartEstimate, task_pb2.TaskExplanation.StartEstimate] = Mapping(
    task_pb2.TaskExplanation.StartEstimate,
    Time("p50"),
    Time("p90"),
    Field("checked", keep_empty=False),
    Field("held_p50_percent"),
    Field("held_p90_percent"),
)

EXPLANATION: Mapping[Explanation, task_pb2.TaskExplanation] = Mapping(
    task_pb2.TaskExplanation,
    Field("task_id"),
    Field("status"),
    Field("reason"),
    Field("position"),
    Rows("missing", SHORTAGE),
    Field("progress"),
    Nested("estimate", ESTIMATE),
)

AUDIT_ENTRY: Mapping[AuditEntry, audit_pb2.AuditEntry] = Mapping(
    audit_pb2.AuditEntry,
    Field("id"),
    Time("at"),
    Field("action"),
    Field("target"),
    Field("user_id", "user"),
    Field("key_id"),
    Field("address", keep_empty=False),
    Field("outcome"),
    Field("detail"),
)

LOG_TIME: Mapping[LogTime, task_pb2.TaskLogInfo.LogTime] = Mapping(
    task_pb2.TaskLogInfo.LogTime, Time("at"), Field("offset")
)

LOG_INFO: Mapping[LogInfo, task_pb2.TaskLogInfo] = Mapping(
    task_pb2.TaskLogInfo,
    Field("task_id"),
    Field("attempt"),
    Field("attempts"),
    Field("offset"),
    Field("end"),
    Field("may_grow"),
    Rows("times", LOG_TIME, keep_empty=True),
)

LOG_MATCH: Mapping[LogMatch, task_pb2.TaskLogMatches.Match] = Mapping(
    task_pb2.TaskLogMatches.Match,
    Field("offset"),
    Field("line_offset"),
    Field("text"),
    Time("at"),
)

LOG_MATCHES: Mapping[LogMatches, task_pb2.TaskLogMatches] = Mapping(
    task_pb2.TaskLogMatches,
    Field("attempt"),
    Rows("matches", LOG_MATCH, keep_empty=True),
    Field("next_offset"),
)

INTERRUPTION: Mapping[Interruption, task_pb2.TaskInterruption] = Mapping(
    task_pb2.TaskInterruption,
    Field("task_id"),
    Field("attempt"),
    Time("started_at"),
    Time("interrupted_at"),
    Time("checkpoint_saved_at"),
)

OUTPUT: Mapping[OutputFile, task_pb2.TaskOutput] = Mapping(
    task_pb2.TaskOutput,
    # A task may give a file any bytes as its name; JSON and protobuf take only UTF-8.
    Field("path", lambda file: os.fsencode(file.path).decode("utf-8", "replace")),
    Field("size_bytes"),
    Time("modified_at"),
    Field("etag"),
)

SNAPSHOT: Mapping[Snapshot, snapshot_pb2.Snapshot] = Mapping(
    snapshot_pb2.Snapshot,
    Field("id"),
    Field("size_bytes"),
    Field("file_count"),
    Time("created_at"),
    Time("used_at"),
    Field("user_ids", "users"),
    Field("git_commit"),
    Field("git_dirty"),
)

JUPYTER_SERVICE: Mapping[JupyterView, jupyter_pb2.JupyterServiceInfo] = Mapping(
    jupyter_pb2.JupyterServiceInfo,
    Field("id"),
    Field("name"),
    Field("status"),
    Field("url"),
    Field("token"),
    Time("created_at"),
    Field("user_id", "user", full=True),
    Field("image", full=True),
    Field("workspace", full=True),
    Field("cpu", full=True),
    Field("memory_gb", full=True),
    Field("gpu", full=True),
    Field("reason", full=True),
    Time("started_at", full=True),
    Time("ended_at", full=True),
    Time("last_activity", full=True),
    Time("stops_at", full=True),
)

GPU_PROCESS: Mapping[GpuProcess, gpu_pb2.GpuProcess] = Mapping(
    gpu_pb2.GpuProcess,
    Field("pid"),
    Field("name", keep_empty=False),
    Field("memory_mb"),
    Field("task_id"),
)

GPU: Mapping[GpuStatus, gpu_pb2.Gpu] = Mapping(
    gpu_pb2.Gpu,
    Field("uuid", "gpu.uuid"),
    Field("number"),
    Field("name", "gpu.name", keep_empty=False),
    Field("state", "condition"),
    Field("reason"),
    Field("task_ids", "held_by", keep_empty=False),
    Field("memory_mb", "gpu.memory_mb", keep_empty=False),
    Field("parent_uuid", "gpu.parent"),
    Field("drained_by"),
    Field("packing_room_mb"),
    Field("node"),
    Field("memory_used_mb", lambda status: status.reading and status.reading.used_mb),
    Field("temperature_c", lambda status: status.reading and status.reading.temperature_c),
    Field(
        "utilisation_percent", lambda status: status.reading and status.reading.utilisation_percent
    ),
    Rows("processes", GPU_PROCESS, lambda status: status.reading and status.reading.processes),
)

NODE: Mapping[NodeStatus, gpu_pb2.Node] = Mapping(
    gpu_pb2.Node,
    Field("name", "node.name"),
    Field("state", lambda status: "+".join(status.node.state).lower()),
    Field("takes_work", "node.takes_work"),
    Field("reason", "node.reason"),
    Field("reason_by", "node.reason_by"),
    Field("cpu", "node.cpu"),
    Field("cpu_used", "node.cpu_used"),
    Field("memory_mb", "node.memory_mb"),
    Field("memory_used_mb", "node.memory_used_mb"),
    Field("gpu", "node.gpu"),
    Field("gpu_used", "node.gpu_used"),
    Field("gpu_name", "node.gpu_name", keep_empty=False),
    Field("partitions", "node.partitions", keep_empty=False),
    Field("task_ids", keep_empty=False),
)

GPUS: Mapping[GpuReport, gpu_pb2.GpuList] = Mapping(
    gpu_pb2.GpuList,
    Rows("gpus", GPU, keep_empty=True),
    Field("driver"),
    Field("problem"),
    Field("notes", keep_empty=False),
    Rows("nodes", NODE),
)

KEY: Mapping[Key, key_pb2.Key] = Mapping(
    key_pb2.Key,
    Field("id"),
    Field("name"),
    Field("role"),
    Time("created_at"),
    Time("expires_at"),
    Time("last_used_at"),
    Time("revoked_at"),
)

SECRET: Mapping[Secret, secret_pb2.Secret] = Mapping(
    secret_pb2.Secret, Field("name"), Time("created_at"), Time("updated_at")
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

STORAGE: Mapping[StorageReport, storage_pb2.StorageReport] = Mapping(
    storage_pb2.StorageReport,
    Rows("users", USER_STORAGE, keep_empty=True),
    Field("allowed_bytes", keep_empty=False),
)

PRUNED: Mapping[Pruned, storage_pb2.PruneStorageResponse] = Mapping(
    storage_pb2.PruneStorageResponse,
    Field("tasks"),
    Field("outputs"),
    Field("snapshots"),
    Field("bytes"),
    Field("files"),
    Field("left"),
    Field("environments"),
)

TASK_LIMITS: Mapping[ServerInfo, server_pb2.TaskLimits] = Mapping(
    server_pb2.TaskLimits,
    Field("cpu", "task_limits.cpu"),
    Field("memory_gb", "task_limits.memory_gb"),
    Field("timeout_seconds", "task_limits.timeout_seconds"),
    Field("max_cpu", "task_limits.max_cpu"),
    Field("max_memory_gb", "task_limits.max_memory_gb"),
    Field("max_timeout_seconds", "task_limits.max_timeout_seconds"),
    Field("max_retries"),
)

QUOTAS: Mapping[Quotas, server_pb2.Quotas] = Mapping(
    server_pb2.Quotas,
    Field("gpus"),
    Field("running"),
    Field("queued"),
    Field("queued_bytes"),
    Field("storage_bytes"),
)

SERVER: Mapping[ServerInfo, server_pb2.ServerInfo] = Mapping(
    server_pb2.ServerInfo,
    Field("version"),
    Field("launcher"),
    Field("image"),
    Field("command"),
    Field("allow_images"),
    Field("cpu"),
    Field("memory_gb"),
    Field("gpu"),
    Field("max_running"),
    Nested("task_limits", TASK_LIMITS, lambda info: info),
    Nested("quotas", QUOTAS),
    Field("datasets"),
    Field("jupyter_images"),
    Field("volumes"),
    Field("private"),
    Field("user_id", "user"),
    Field("role"),
    Field("preemption"),
    Field("environments"),
)

FINDING: Mapping[Finding, server_pb2.Finding] = Mapping(
    server_pb2.Finding,
    Field("name"),
    Field("ok"),
    Field("finding"),
    Field("fix", keep_empty=False),
    Field("advice", keep_empty=False),
)

DOCTOR: Mapping[Sequence[Finding], server_pb2.DoctorReport] = Mapping(
    server_pb2.DoctorReport,
    Field("ok", lambda found: all(each.ok for each in found)),
    Rows("findings", FINDING, lambda found: found, keep_empty=True),
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
    Time("created_at", "task.created_at"),
    Time("started_at", "task.started_at"),
    Time("ended_at", "task.ended_at"),
    Field("snapshot_id", "task.spec.snapshot_id"),
    Field("user_id", "task.user"),
)

_IS_LINK = EntryKind.LINK

SNAPSHOT_FILE: Mapping[Entry, snapshot_pb2.SnapshotFile] = Mapping(
    snapshot_pb2.SnapshotFile,
    Field("path"),
    Field("kind"),
    Field("size_bytes", lambda entry: None if entry.kind is _IS_LINK else entry.size),
    Field("sha256", lambda entry: None if entry.kind is _IS_LINK else entry.content),
    Field("target", lambda entry: entry.content if entry.kind is _IS_LINK else None),
)

TASK_PORT_LINK: Mapping[TaskPortLink, access_pb2.TaskPortLink] = Mapping(
    access_pb2.TaskPortLink, Field("url"), Time("expires_at")
)
