"""The fields that REST and gRPC show of every type except `Task`."""

import os
from collections.abc import Sequence

from fetchml.api.mapping import Field, LongRows, Mapping, Nested, Rows, Time
from fetchml.core.audit import AuditEntry
from fetchml.core.gpus.health import GpuProcess
from fetchml.core.model import Key
from fetchml.core.requests.pruning import Pruned
from fetchml.core.requests.secrets import Secret
from fetchml.core.snapshots import Entry, EntryKind, Snapshot
from fetchml.core.storage import Kind, Used
from fetchml.engine.gpus.report import GpuReport, GpuStatus, NodeStatus
from fetchml.engine.retention import StorageReport
from fetchml.files.storage_usage import UserStorage
from fetchml.files.volume_usage import VolumeReport
from fetchml.v1 import (
    access_pb2,
    audit_pb2,
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
    audit_pb2.AuditList, LongRows("entries", AUDIT_ENTRY, lambda found: found)
)

LOG_TIME: Mapping[LogTime, task_pb2.TaskLogInfo.LogTime] = Mapping(task_pb2.TaskLogInfo.LogTime)

LOG_INFO: Mapping[LogInfo, task_pb2.TaskLogInfo] = Mapping(
    task_pb2.TaskLogInfo, Rows("times", LOG_TIME, keep_empty=True)
)

LOG_MATCH: Mapping[LogMatch, task_pb2.TaskLogMatches.Match] = Mapping(task_pb2.TaskLogMatches.Match)

LOG_MATCHES: Mapping[LogMatches, task_pb2.TaskLogMatches] = Mapping(
    task_pb2.TaskLogMatches, Rows("matches", LOG_MATCH, keep_empty=True)
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
    key_pb2.ListKeysResponse, LongRows("keys", KEY, lambda found: found)
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
    secret_pb2.ListSecretsResponse, LongRows("secrets", SECRET, lambda found: found)
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
    Field("ok", lambda found: all(each.ok for each in found)),
    Rows("findings", FINDING, lambda found: found, keep_empty=True),
)

_IS_LINK = EntryKind.LINK

SNAPSHOT_FILE: Mapping[Entry, snapshot_pb2.SnapshotFile] = Mapping(
    snapshot_pb2.SnapshotFile,
    Field("size_bytes", lambda entry: None if entry.kind is _IS_LINK else entry.size),
    Field("sha256", lambda entry: None if entry.kind is _IS_LINK else entry.content),
    Field("target", lambda entry: entry.content if entry.kind is _IS_LINK else None),
)

TASK_PORT_LINK: Mapping[TaskPortLink, access_pb2.TaskPortLink] = Mapping(access_pb2.TaskPortLink)
