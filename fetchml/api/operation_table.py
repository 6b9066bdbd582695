"""The operations that REST and gRPC offer alike: one row for each.

A new operation is an RPC in a proto, a row here, and a function. Operations stand elsewhere, once
for each transport, if they stream, or if a transport has rules of its own for them: tasks, logs,
files, snapshots, Jupyter services, and the queue.
"""

from types import ModuleType

from google.protobuf.descriptor import MethodDescriptor

from fetchml.api.message_fields import (
    AUDIT_LIST,
    BEST,
    BOOKING,
    BOOKINGS,
    CANCELLED,
    CURVES,
    DOCTOR,
    ENVIRONMENTS,
    EXPERIMENT,
    EXPLANATION,
    GPU,
    GPU_HISTORY,
    GPU_HOURS_LIST,
    GPUS,
    HISTORY_ROWS,
    HISTORY_VIEWS,
    INTERRUPTION,
    KEY,
    KEYS,
    LOG_INFO,
    LOG_MATCHES,
    NEW_KEY,
    NOTIFICATION,
    NOTIFICATIONS,
    PACKAGES,
    PRUNED,
    REPLAY,
    RESULTS,
    RETRIED,
    RUN,
    RUNS,
    SECRET,
    SECRETS,
    SERVER,
    SETTINGS,
    SIGN_IN_CODE,
    SNAPSHOT,
    SNAPSHOT_FILES,
    STORAGE,
    SWEEP,
    SWEEPS,
    TASK,
    TASK_DIFF,
    TASK_USAGE,
    TEST_RESULT,
    WEBHOOK_SECRET,
)
from fetchml.api.operation import Operation
from fetchml.api.services import ApiServices
from fetchml.auth.keyring import KeyManager
from fetchml.auth.sign_in import SignIn
from fetchml.core.model import Principal
from fetchml.core.requests.logs import DEFAULT_MATCHES, LogRange, LogSearch
from fetchml.engine.experiments import ExperimentView
from fetchml.engine.sweeps import SweepResults
from fetchml.v1 import (
    audit_pb2,
    environment_pb2,
    experiment_pb2,
    gpu_pb2,
    history_pb2,
    key_pb2,
    notification_pb2,
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
from fetchml.views import LogInfo, LogMatches


def key_operations(keys: KeyManager) -> list[Operation]:
    """Those that a stopped server's command line offers too."""
    return [
        Operation(_rpc(key_pb2, "ListKeys"), keys.list, KEYS),
        Operation(_rpc(key_pb2, "CreateKey"), keys.create, NEW_KEY, status=201),
        Operation(_rpc(key_pb2, "RevokeKey"), keys.revoke, KEY),
    ]


def operations(api: ApiServices) -> list[Operation]:
    engine, gpus, secrets, snapshots = api.engine, api.gpus, api.secrets, api.snapshots
    notifications, sweeps, usage = engine.notifications, engine.sweeps, engine.usage
    sign_in = SignIn(api.admission, api.audit)

    async def sign_in_code(who: Principal) -> tuple[str, str, int]:
        code, expires_at = await sign_in.create_code(who)
        return code, f"{api.jupyter.origins.page_url(who.address)}#code={code}", expires_at

    async def experiment(who: Principal, experiment_id: str) -> ExperimentView:
        return api.experiments.with_counts(who, api.experiments.get(who, experiment_id))

    async def archive(who: Principal, experiment_id: str) -> ExperimentView:
        archived = await api.experiments.archive(who, experiment_id)
        return api.experiments.with_counts(who, archived)

    async def log_info(
        who: Principal, task_id: str, attempt: int | None, offset: int | None, limit: int | None
    ) -> LogInfo:
        wanted = LogRange(attempt=attempt, offset=offset, limit=limit)
        return await engine.logs.info(who, task_id, wanted)

    async def search_log(
        who: Principal,
        task_id: str,
        q: str | None,
        attempt: int | None,
        offset: int | None,
        limit: int | None,
        backwards: bool | None,
        ignore_case: bool | None,
    ) -> LogMatches:
        wanted = LogSearch(
            q or "",
            attempt=attempt,
            offset=offset,
            limit=DEFAULT_MATCHES if limit is None else limit,
            backwards=bool(backwards),
            ignore_case=bool(ignore_case),
        )
        return await engine.logs.search(who, task_id, wanted)

    async def best(
        who: Principal, sweep_id: str, metric: str | None, goal: str | None, limit: int | None
    ) -> SweepResults:
        return await engine.ranking.best(who, sweep_id, metric or "", goal or "", limit)

    return [
        *key_operations(api.keys),
        Operation(_rpc(key_pb2, "CreateSignInCode"), sign_in_code, SIGN_IN_CODE),
        Operation(_rpc(task_pb2, "InterruptTask"), engine.changes.interrupt, INTERRUPTION),
        Operation(_rpc(task_pb2, "DeclareTaskLost"), engine.changes.declare_lost, TASK),
        Operation(_rpc(task_pb2, "CancelTask"), engine.changes.cancel, TASK),
        Operation(_rpc(task_pb2, "ExplainTask"), engine.tasks.explain, EXPLANATION),
        Operation(_rpc(task_pb2, "GetTaskLogInfo"), log_info, LOG_INFO),
        Operation(_rpc(task_pb2, "SearchTaskLogs"), search_log, LOG_MATCHES),
        Operation(_rpc(reproduce_pb2, "DiffTasks"), engine.comparison.diff, TASK_DIFF),
        Operation(_rpc(reproduce_pb2, "RerunTask"), engine.reruns.rerun, TASK, status=201),
        Operation(_rpc(reproduce_pb2, "ListTaskPackages"), engine.comparison.packages, PACKAGES),
        Operation(_rpc(snapshot_pb2, "GetSnapshot"), snapshots.get, SNAPSHOT),
        Operation(_rpc(snapshot_pb2, "ListSnapshotFiles"), snapshots.reads.list, SNAPSHOT_FILES),
        Operation(_rpc(snapshot_pb2, "DeleteSnapshot"), snapshots.delete),
        Operation(_rpc(secret_pb2, "ListSecrets"), secrets.list, SECRETS),
        Operation(_rpc(secret_pb2, "SetSecret"), secrets.set, SECRET),
        Operation(_rpc(secret_pb2, "DeleteSecret"), secrets.delete),
        Operation(_rpc(experiment_pb2, "GetExperiment"), experiment, EXPERIMENT),
        Operation(_rpc(experiment_pb2, "ArchiveExperiment"), archive, EXPERIMENT),
        Operation(_rpc(experiment_pb2, "DeleteExperiment"), api.experiments.delete),
        Operation(_rpc(experiment_pb2, "ListExperimentResults"), engine.results.list, RESULTS),
        Operation(_rpc(sweep_pb2, "ListSweeps"), sweeps.page, SWEEPS),
        Operation(_rpc(sweep_pb2, "GetSweep"), sweeps.get, SWEEP),
        Operation(_rpc(sweep_pb2, "CancelSweep"), sweeps.cancel, CANCELLED),
        Operation(_rpc(sweep_pb2, "RetrySweep"), sweeps.retry, RETRIED),
        Operation(_rpc(sweep_pb2, "ListBestTasks"), best, BEST),
        Operation(_rpc(environment_pb2, "ListEnvironments"), api.environments.page, ENVIRONMENTS),
        Operation(_rpc(environment_pb2, "DeleteEnvironment"), api.environments.delete),
        Operation(_rpc(notification_pb2, "ListNotifications"), notifications.page, NOTIFICATIONS),
        Operation(_rpc(notification_pb2, "RetryNotification"), notifications.retry, NOTIFICATION),
        Operation(
            _rpc(notification_pb2, "GetNotificationSettings"), notifications.settings, SETTINGS
        ),
        Operation(
            _rpc(notification_pb2, "SetNotificationSettings"), notifications.set_settings, SETTINGS
        ),
        Operation(_rpc(notification_pb2, "GetWebhookSecret"), notifications.secret, WEBHOOK_SECRET),
        Operation(_rpc(notification_pb2, "ReplaceWebhookSecrets"), notifications.replace_secrets),
        Operation(_rpc(notification_pb2, "TestNotification"), notifications.test, TEST_RESULT),
        Operation(_rpc(gpu_pb2, "ListGpus"), gpus.list, GPUS),
        Operation(_rpc(gpu_pb2, "DrainGpu"), gpus.drain, GPU),
        Operation(_rpc(gpu_pb2, "UndrainGpu"), gpus.undrain, GPU),
        Operation(_rpc(gpu_pb2, "ListBookings"), gpus.bookings.list, BOOKINGS),
        Operation(_rpc(gpu_pb2, "CreateBooking"), gpus.bookings.create, BOOKING, status=201),
        Operation(_rpc(gpu_pb2, "DeleteBooking"), gpus.bookings.delete),
        Operation(_rpc(usage_pb2, "GetTaskUsage"), engine.usage.of_task, TASK_USAGE),
        Operation(_rpc(usage_pb2, "GetGpuHistory"), usage.of_gpus, GPU_HISTORY),
        Operation(_rpc(usage_pb2, "ListGpuHours"), usage.by_day, GPU_HOURS_LIST),
        Operation(_rpc(tracking_pb2, "ListRuns"), api.tracking.list_runs, RUNS),
        Operation(_rpc(tracking_pb2, "GetRun"), api.tracking.get_run, RUN),
        Operation(_rpc(tracking_pb2, "DeleteRun"), api.tracking.delete_run),
        Operation(_rpc(tracking_pb2, "GetCurves"), api.tracking.draw, CURVES),
        Operation(_rpc(history_pb2, "ListHistoryViews"), api.history.views, HISTORY_VIEWS),
        Operation(_rpc(history_pb2, "QueryHistoryRows"), api.history.rows, HISTORY_ROWS),
        Operation(_rpc(history_pb2, "ReplayHistory"), api.what_ifs.replay, REPLAY),
        Operation(_rpc(storage_pb2, "GetStorage"), api.retention.report, STORAGE),
        Operation(_rpc(storage_pb2, "PruneStorage"), api.retention.prune, PRUNED),
        Operation(_rpc(audit_pb2, "ListAudit"), api.audit.entries, AUDIT_LIST),
        Operation(_rpc(server_pb2, "GetServerInfo"), engine.information.get, SERVER),
        Operation(_rpc(server_pb2, "RunDoctor"), engine.diagnosis.run, DOCTOR),
    ]


def _rpc(proto: ModuleType, name: str) -> MethodDescriptor:
    """Return the RPC of the proto's only service."""
    (service,) = proto.DESCRIPTOR.services_by_name.values()
    rpc: MethodDescriptor = service.methods_by_name[name]
    return rpc
