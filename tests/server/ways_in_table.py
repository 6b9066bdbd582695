"""The table of access: which role may use which operation, and what it sees of other users."""

from importlib import import_module
from typing import Any, NamedTuple

import grpc
from google.protobuf.descriptor import MethodDescriptor

from fetchml.v1 import key_pb2
from tests.support.archives import archive

CALLERS = ("owner", "other", "viewer", "admin", "revoked", "nobody")
"""In the order of the table's columns. The last two get a 401 everywhere."""


class Expected(NamedTuple):
    """What the first four callers get: `ok`, the HTTP status of an error, or `absent` where
    something is left out of a list or a stream."""

    open: str
    private: str


SEE = Expected("ok ok ok ok", "ok 404 404 ok")
LISTED = Expected("ok ok ok ok", "ok absent absent ok")
END = Expected("ok 403 403 ok", "ok 404 404 ok")
ENTER = Expected("409 403 403 409", "409 404 404 409")
"""Enter a task: this one has ended."""
SUBMIT = Expected("ok ok 403 ok", "ok ok 403 ok")
NAME = Expected("ok ok 403 ok", "ok 422 403 ok")
"""Submit something that names what the owner has made."""
RUN = Expected("ok ok 403 ok", "ok 422 403 422")
"""Run the code of a snapshot: on a private server only those who have uploaded it may."""
ALL = Expected("ok ok ok ok", "ok ok ok ok")
ADMINS_BUT_OWN = Expected("ok 403 403 ok", "ok 403 403 ok")
INTERRUPT = Expected("409 403 403 409", "409 404 404 409")
"""Interrupt a task that does not run."""
SESSIONS_ONLY = Expected("403 403 403 403", "403 403 403 403")
"""Sessions of the page only: these callers have keys."""
ADMINS = Expected("403 403 403 ok", "403 403 403 ok")
ADMINS_INVALID = Expected("403 403 403 422", "403 403 403 422")
ADMINS_NOWHERE = Expected("403 403 403 404", "403 403 403 404")
ADMINS_IN_VAIN = Expected("403 403 403 409", "403 403 403 409")
"""Admins only, and impossible for a task that has ended."""
UNKNOWN = Expected("404 404 403 404", "404 404 403 404")
"""Send an unknown message again."""
ABSENT = Expected("404 404 404 404", "404 404 404 404")
"""Remove what nobody has."""
HOOK = "http://a.invalid/"
RUN_ID = "0" * 32
"""Of no run. `tests/tracking/test_access.py` has the access to those that there are."""
QUERY = {"sql": "SELECT id FROM tasks"}
SWEEP = {"task": {"job_name": "a"}, "parameters": {"lr": {"range": [1, 1]}}}
# `{task}` is a task of the owner that has ended, with a log and an output. With `fresh` the ids are
# those of things that the owner made just now, for this one call; the task waits in the queue.
REST: list[tuple[str, str, Expected, dict[str, Any]]] = [
    (
        "GET",
        "/v1/tasks?limit=1000&fold_sweeps=true&fold_experiments=true",
        LISTED,
        {"lists": "task"},
    ),
    ("GET", "/v1/tasks?id_suffix={task}&text=a&user_id=owner", LISTED, {"lists": "task"}),
    ("GET", "/v1/tasks/{task}", SEE, {}),
    ("GET", "/v1/tasks/{task}?view=full", SEE, {}),
    ("GET", "/v1/tasks/{task}/explain", SEE, {}),
    ("GET", "/v1/tasks/{task}/usage", SEE, {}),
    ("GET", "/v1/tasks/{task}/logs", SEE, {}),
    ("GET", "/v1/tasks/{task}/logs?follow=1", SEE, {}),
    ("GET", "/v1/tasks/{task}/logs/info", SEE, {}),
    ("GET", "/v1/tasks/{task}/logs/search?q=said", SEE, {}),
    ("GET", "/v1/tasks/{task}/outputs", SEE, {}),
    ("GET", "/v1/tasks/{task}/outputs/result", SEE, {}),
    ("GET", "/v1/tasks/{task}/outputs?folder=checkpoint", SEE, {}),
    ("PATCH", "/v1/tasks/{task}", END, {"json": {"metadata": {"seen": "yes"}}}),
    ("PATCH", "/v1/tasks/{task}", END, {"fresh": True, "json": {"priority": 1}}),
    ("POST", "/v1/tasks/{task}/retry", END, {}),
    ("POST", "/v1/tasks/{task}/rerun", END, {"json": {"args": "b"}}),
    ("GET", "/v1/tasks/{task}/packages", SEE, {}),
    ("GET", "/v1/tasks/{task}/diff/{task}?outputs=1", SEE, {}),
    ("POST", "/v1/tasks/{task}/interrupt", INTERRUPT, {}),
    ("POST", "/v1/tasks/{task}/declare-lost", ADMINS_IN_VAIN, {}),
    ("POST", "/v1/tasks/{task}/cancel", END, {"fresh": True}),
    ("GET", "/v1/tasks/{task}/archive", SEE, {}),
    ("POST", "/v1/tasks/{task}/ports/80", ENTER, {}),
    ("GET", "/v1/tasks/{task}/shell", ENTER, {}),
    ("DELETE", "/v1/tasks/{task}", END, {"fresh": True}),
    ("POST", "/v1/tasks", SUBMIT, {"json": {"job_name": "a"}}),
    ("POST", "/v1/tasks?validate_only=1&view=full", SUBMIT, {"json": {"job_name": "a"}}),
    (
        "POST",
        "/v1/tasks?validate_only=1",
        NAME,
        {"json": {"job_name": "a", "experiment_id": "{experiment}"}},
    ),
    ("POST", "/v1/tasks", NAME, {"json": {"job_name": "a", "experiment_id": "{experiment}"}}),
    ("POST", "/v1/tasks", RUN, {"json": {"job_name": "a", "snapshot_id": "{snapshot}"}}),
    ("GET", "/v1/experiments", LISTED, {"lists": "experiment"}),
    ("GET", "/v1/experiments/{experiment}", SEE, {}),
    ("GET", "/v1/experiments/{experiment}/results", SEE, {}),
    ("POST", "/v1/experiments/{experiment}/archive", END, {"fresh": True}),
    ("DELETE", "/v1/experiments/{experiment}", END, {"fresh": True}),
    ("POST", "/v1/experiments", SUBMIT, {"json": {"name": "a"}}),
    ("POST", "/v1/experiments", NAME, {"json": {"name": "a", "commit_id": "{snapshot}"}}),
    ("GET", "/v1/sweeps?limit=1000", LISTED, {"lists": "sweep"}),
    ("GET", "/v1/sweeps/{sweep}", SEE, {}),
    ("GET", "/v1/sweeps/{sweep}/best?metric=loss", SEE, {}),
    ("POST", "/v1/sweeps/{sweep}/cancel", END, {"fresh": True}),
    ("POST", "/v1/sweeps/{sweep}/retry", END, {}),
    ("POST", "/v1/sweeps", SUBMIT, {"json": SWEEP}),
    ("POST", "/v1/sweeps?validate_only=1", SUBMIT, {"json": SWEEP}),
    (
        "POST",
        "/v1/sweeps",
        NAME,
        {"json": {**SWEEP, "task": {"job_name": "a", "experiment_id": "{experiment}"}}},
    ),
    ("GET", "/v1/tasks?sweep_id={sweep}", LISTED, {"lists": "of_sweep", "fresh": True}),
    ("GET", "/v1/notifications", ALL, {}),
    ("POST", "/v1/notifications/none/retry", UNKNOWN, {}),
    ("GET", "/v1/notifications/settings", ALL, {}),
    ("PUT", "/v1/notifications/settings", SUBMIT, {"json": {"notify": []}}),
    ("GET", f"/v1/notifications/secret?url={HOOK}", SUBMIT, {}),
    ("POST", "/v1/notifications/secret/replace", SUBMIT, {}),
    ("POST", "/v1/notifications/test", SUBMIT, {"json": {"url": HOOK}}),
    ("GET", "/v1/snapshots", LISTED, {"lists": "snapshot"}),
    ("GET", "/v1/snapshots/{snapshot}", SEE, {}),
    ("GET", "/v1/snapshots/{snapshot}/files", SEE, {}),
    ("GET", "/v1/snapshots/{snapshot}/files/result", SEE, {}),
    ("DELETE", "/v1/snapshots/{snapshot}", END, {"fresh": True}),
    ("PUT", "/v1/snapshots", SUBMIT, {"body": archive({"theirs": b""})}),
    ("GET", "/v1/queue", ALL, {}),
    ("GET", "/v1/queue/waiting?limit=1000", LISTED, {"lists": "task", "fresh": True}),
    ("POST", "/ui/session/tickets", SESSIONS_ONLY, {"json": {"path": "/v1/tasks"}}),
    ("GET", "/v1/server", ALL, {}),
    ("GET", "/v1/doctor", ADMINS, {}),
    ("GET", "/metrics", ALL, {}),
    ("GET", "/v1/audit", ADMINS, {}),
    ("GET", "/v1/gpus", ALL, {}),
    ("GET", "/v1/gpus/history", ALL, {}),
    ("GET", "/v1/usage", ALL, {}),
    ("GET", "/v1/runs", ALL, {}),
    ("GET", f"/v1/runs/{RUN_ID}", ABSENT, {}),
    ("DELETE", f"/v1/runs/{RUN_ID}", ABSENT, {}),
    ("GET", f"/v1/curves?run_ids={RUN_ID}", ABSENT, {}),
    ("GET", "/v1/history/views", ALL, {}),
    ("POST", "/v1/history/query", LISTED, {"json": QUERY, "lists": "task"}),
    ("POST", "/v1/history/query", ADMINS, {"json": {"sql": "SELECT * FROM audit"}}),
    ("POST", "/v1/history/replay", ADMINS, {"json": {"gpus": 1}}),
    ("GET", "/v1/keys", ADMINS, {}),
    ("POST", "/v1/keys", ADMINS, {"json": {"name": "a", "role": "user"}}),
    ("POST", "/v1/keys/{key}/revoke", ADMINS, {"fresh": True}),
    ("GET", "/v1/secrets", SUBMIT, {}),
    ("GET", "/v1/secrets?user_id=owner", ADMINS_BUT_OWN, {}),
    ("PUT", "/v1/secrets/TOKEN", SUBMIT, {"json": {"value": "a"}}),
    ("DELETE", "/v1/secrets/TOKEN", SUBMIT, {}),
    ("DELETE", "/v1/secrets/TOKEN", UNKNOWN, {}),
    ("GET", "/v1/environments", ALL, {}),
    ("DELETE", "/v1/environments/none", ABSENT, {}),
    ("GET", "/v1/storage", ALL, {}),
    ("POST", "/v1/storage/prune", SUBMIT, {"json": {"older_than_seconds": 9}}),
    (
        "POST",
        "/v1/storage/prune",
        ADMINS_BUT_OWN,
        {"json": {"older_than_seconds": 99_999, "user_id": "owner", "apply": True}},
    ),
    ("GET", "/v1/bookings", ALL, {}),
    ("POST", "/v1/bookings", ADMINS_INVALID, {"json": {}}),
    ("DELETE", "/v1/bookings/none", ADMINS_NOWHERE, {}),
    ("POST", "/v1/gpus/slot-0/drain", ADMINS, {}),
    ("POST", "/v1/gpus/slot-0/undrain", ADMINS, {}),
]
GRPC: list[tuple[str, dict[str, Any], Expected, dict[str, Any]]] = [
    ("TaskService.ListTasks", {"limit": 1000}, LISTED, {"lists": "task"}),
    ("TaskService.ListTasks", {"id_suffix": "{task}", "text": "a"}, LISTED, {"lists": "task"}),
    ("TaskService.GetTask", {"task_id": "{task}"}, SEE, {}),
    ("TaskService.ExplainTask", {"task_id": "{task}"}, SEE, {}),
    ("TaskService.StreamTaskLogs", {"task_id": "{task}"}, SEE, {}),
    ("TaskService.StreamTaskLogs", {"task_id": "{task}", "follow": True}, SEE, {}),
    ("TaskService.GetTaskLogInfo", {"task_id": "{task}"}, SEE, {}),
    ("TaskService.SearchTaskLogs", {"task_id": "{task}", "q": "said"}, SEE, {}),
    ("TaskService.ListTaskOutputs", {"task_id": "{task}"}, SEE, {}),
    ("TaskService.DownloadTaskOutput", {"task_id": "{task}", "path": "result"}, SEE, {}),
    ("TaskService.UpdateTask", {"task_id": "{task}", "metadata": {"a": "b"}}, END, {}),
    ("TaskService.UpdateTask", {"task_id": "{task}", "priority": 1}, END, {"fresh": True}),
    ("TaskService.UpdateTask", {"task_id": "{task}", "timeout_seconds": 9}, END, {"fresh": True}),
    ("TaskService.RetryTask", {"task_id": "{task}"}, END, {}),
    ("ReproduceService.RerunTask", {"task_id": "{task}"}, END, {}),
    ("ReproduceService.ListTaskPackages", {"task_id": "{task}"}, SEE, {}),
    ("ReproduceService.DiffTasks", {"task_id": "{task}", "other_id": "{task}"}, SEE, {}),
    ("TaskService.InterruptTask", {"task_id": "{task}"}, INTERRUPT, {}),
    ("TaskService.DeclareTaskLost", {"task_id": "{task}"}, ADMINS_IN_VAIN, {}),
    ("TaskService.DownloadTaskArchive", {"task_id": "{task}"}, SEE, {}),
    ("TaskService.CancelTask", {"task_id": "{task}"}, END, {"fresh": True}),
    ("TaskService.DeleteTask", {"task_id": "{task}"}, END, {"fresh": True}),
    ("TaskService.CreateTask", {"job_name": "a"}, SUBMIT, {}),
    ("TaskService.CreateTask", {"job_name": "a", "validate_only": True}, SUBMIT, {}),
    ("TaskService.CreateTask", {"job_name": "a", "experiment_id": "{experiment}"}, NAME, {}),
    ("TaskService.CreateTasks", {"tasks": [{"job_name": "a"}]}, SUBMIT, {}),
    (
        "TaskService.CreateTasks",
        {"tasks": [{"job_name": "a", "experiment_id": "{experiment}"}]},
        NAME,
        {},
    ),
    ("ExperimentService.ListExperiments", {}, LISTED, {"lists": "experiment"}),
    ("ExperimentService.GetExperiment", {"experiment_id": "{experiment}"}, SEE, {}),
    (
        "ExperimentService.ListExperimentResults",
        {"experiment_id": "{experiment}"},
        SEE,
        {},
    ),
    (
        "ExperimentService.ArchiveExperiment",
        {"experiment_id": "{experiment}"},
        END,
        {"fresh": True},
    ),
    ("ExperimentService.DeleteExperiment", {"experiment_id": "{experiment}"}, END, {"fresh": True}),
    ("ExperimentService.CreateExperiment", {"name": "a"}, SUBMIT, {}),
    ("SweepService.ListSweeps", {"limit": 1000}, LISTED, {"lists": "sweep"}),
    ("SweepService.GetSweep", {"sweep_id": "{sweep}"}, SEE, {}),
    ("SweepService.ListBestTasks", {"sweep_id": "{sweep}", "metric": "loss"}, SEE, {}),
    ("SweepService.CancelSweep", {"sweep_id": "{sweep}"}, END, {"fresh": True}),
    ("SweepService.RetrySweep", {"sweep_id": "{sweep}"}, END, {}),
    ("SweepService.CreateSweep", SWEEP, SUBMIT, {}),
    (
        "SweepService.CreateSweep",
        {**SWEEP, "task": {"job_name": "a", "experiment_id": "{experiment}"}},
        NAME,
        {},
    ),
    (
        "TaskService.ListTasks",
        {"sweep_id": "{sweep}"},
        LISTED,
        {"lists": "of_sweep", "fresh": True},
    ),
    ("NotificationService.ListNotifications", {}, ALL, {}),
    ("NotificationService.RetryNotification", {"notification_id": "none"}, UNKNOWN, {}),
    ("NotificationService.GetNotificationSettings", {}, ALL, {}),
    ("NotificationService.SetNotificationSettings", {}, SUBMIT, {}),
    ("NotificationService.GetWebhookSecret", {"url": HOOK}, SUBMIT, {}),
    ("NotificationService.ReplaceWebhookSecrets", {}, SUBMIT, {}),
    ("NotificationService.TestNotification", {"url": HOOK}, SUBMIT, {}),
    ("SnapshotService.ListSnapshots", {}, LISTED, {"lists": "snapshot"}),
    ("SnapshotService.GetSnapshot", {"snapshot_id": "{snapshot}"}, SEE, {}),
    ("SnapshotService.ListSnapshotFiles", {"snapshot_id": "{snapshot}"}, SEE, {}),
    (
        "SnapshotService.ReadSnapshotFile",
        {"snapshot_id": "{snapshot}", "path": "mine"},
        SEE,
        {},
    ),
    ("SnapshotService.DeleteSnapshot", {"snapshot_id": "{snapshot}"}, END, {"fresh": True}),
    ("SnapshotService.UploadSnapshot", {"data": archive({"theirs": b""})}, SUBMIT, {}),
    ("ServerService.GetServerInfo", {}, ALL, {}),
    ("ServerService.RunDoctor", {}, ADMINS, {}),
    ("SecretService.ListSecrets", {}, SUBMIT, {}),
    ("SecretService.ListSecrets", {"user_id": "owner"}, ADMINS_BUT_OWN, {}),
    ("SecretService.SetSecret", {"name": "TOKEN", "value": "a"}, SUBMIT, {}),
    ("SecretService.DeleteSecret", {"name": "TOKEN"}, SUBMIT, {}),
    ("SecretService.DeleteSecret", {"name": "TOKEN"}, UNKNOWN, {}),
    ("QueueService.GetQueue", {}, ALL, {}),
    ("QueueService.WatchQueue", {}, ALL, {"endless": True}),
    ("QueueService.ListQueue", {"limit": 1000}, LISTED, {"lists": "task", "fresh": True}),
    ("KeyService.CreateKey", {"name": "a", "role": key_pb2.Key.user}, ADMINS, {}),
    ("KeyService.ListKeys", {}, ADMINS, {}),
    ("KeyService.RevokeKey", {"key_id": "{key}"}, ADMINS, {"fresh": True}),
    ("KeyService.CreateSignInCode", {}, ALL, {}),
    ("AuditService.ListAudit", {}, ADMINS, {}),
    ("EnvironmentService.ListEnvironments", {}, ALL, {}),
    ("EnvironmentService.DeleteEnvironment", {"environment_id": "none"}, ABSENT, {}),
    ("StorageService.GetStorage", {}, ALL, {}),
    ("StorageService.PruneStorage", {"older_than_seconds": 9}, SUBMIT, {}),
    (
        "StorageService.PruneStorage",
        {"older_than_seconds": 99_999, "user_id": "owner", "apply": True},
        ADMINS_BUT_OWN,
        {},
    ),
    ("GpuService.ListGpus", {}, ALL, {}),
    ("GpuService.WatchGpus", {}, ALL, {"endless": True}),
    ("UsageService.GetTaskUsage", {"task_id": "{task}"}, SEE, {}),
    ("UsageService.GetGpuHistory", {}, ALL, {}),
    ("UsageService.ListGpuHours", {}, ALL, {}),
    ("HistoryService.ListHistoryViews", {}, ALL, {}),
    ("HistoryService.QueryHistoryRows", QUERY, LISTED, {"lists": "task"}),
    ("HistoryService.QueryHistory", {"sql": "SELECT * FROM audit"}, ADMINS, {}),
    ("HistoryService.ExportHistory", {"view": "audit"}, ADMINS, {}),
    ("HistoryService.ReplayHistory", {}, ADMINS, {}),
    ("TrackingService.ListRuns", {}, ALL, {}),
    ("TrackingService.GetRun", {"run_id": RUN_ID}, ABSENT, {}),
    ("TrackingService.DeleteRun", {"run_id": RUN_ID}, ABSENT, {}),
    ("TrackingService.GetCurves", {"run_ids": [RUN_ID]}, ABSENT, {}),
    (
        "AccessService.ExecTask",
        {"start": {"task_id": "{task}", "command": ["true"]}},
        ENTER,
        {},
    ),
    ("AccessService.OpenTaskPort", {"task_id": "{task}", "port": 80}, ENTER, {}),
    ("AccessService.ForwardPort", {"start": {"task_id": "{task}", "port": 80}}, ENTER, {}),
    ("GpuService.ListBookings", {}, ALL, {}),
    ("GpuService.CreateBooking", {}, ADMINS_INVALID, {}),
    ("GpuService.DeleteBooking", {"booking_id": "none"}, ADMINS_NOWHERE, {}),
    ("GpuService.DrainGpu", {"uuid": "slot-0"}, ADMINS, {}),
    ("GpuService.UndrainGpu", {"uuid": "slot-0"}, ADMINS, {}),
]
# On a server whose Docker engine is away, so that what is started waits.
JUPYTER_REST: list[tuple[str, str, Expected, dict[str, Any]]] = [
    ("GET", "/v1/jupyter/services", LISTED, {"lists": "service"}),
    ("GET", "/v1/jupyter/services/{service}", SEE, {}),
    ("GET", "/v1/jupyter/services/{service}?view=full", SEE, {}),
    ("DELETE", "/v1/jupyter/services/{service}", END, {"fresh": True}),
    ("POST", "/v1/jupyter/services", SUBMIT, {"json": {"name": "a", "workspace": "shared/a"}}),
]
JUPYTER_GRPC: list[tuple[str, dict[str, Any], Expected, dict[str, Any]]] = [
    ("JupyterService.ListJupyterServices", {}, LISTED, {"lists": "service"}),
    ("JupyterService.GetJupyterService", {"service_id": "{service}"}, SEE, {}),
    ("JupyterService.StopJupyter", {"service_id": "{service}"}, END, {"fresh": True}),
    ("JupyterService.StartJupyter", {"name": "a", "workspace": "shared/a"}, SUBMIT, {}),
]
STREAMS = {"/ws": LISTED, "TaskService.WatchTasks": LISTED}
"""Every change of every task, from the first on."""
FILES = (
    *("access", "audit", "environment", "experiment", "gpu", "history", "jupyter", "key"),
    *("notification", "queue", "reproduce", "secret", "server", "snapshot", "storage", "sweep"),
    *("task", "tracking", "usage"),
)
METHODS: dict[str, MethodDescriptor] = {
    f"{service.name}.{method.name}": method
    for file in FILES
    for service in import_module(f"fetchml.v1.{file}_pb2").DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
STATUS = {
    grpc.StatusCode.UNAUTHENTICATED: "401",
    grpc.StatusCode.PERMISSION_DENIED: "403",
    grpc.StatusCode.NOT_FOUND: "404",
    grpc.StatusCode.INVALID_ARGUMENT: "422",
    grpc.StatusCode.FAILED_PRECONDITION: "409",
}
