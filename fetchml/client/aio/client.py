"""The client: one method for each call of the API."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Unpack
from uuid import uuid4

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from fetchml.client.aio.tasks import AsyncTasks
from fetchml.client.arguments import (
    JupyterFields,
    SweepFields,
    Target,
    Values,
    sweep_request,
    target,
)
from fetchml.client.errors import NotFound
from fetchml.client.rpc import Rpc
from fetchml.v1 import (
    environment_pb2,
    experiment_pb2,
    gpu_pb2,
    history_pb2,
    jupyter_pb2,
    notification_pb2,
    queue_pb2,
    secret_pb2,
    server_pb2,
    snapshot_pb2,
    sweep_pb2,
    usage_pb2,
)
from fetchml.v1.environment_pb2 import ListEnvironmentsResponse
from fetchml.v1.experiment_pb2 import (
    Experiment,
    ListExperimentResultsResponse,
    ListExperimentsResponse,
)
from fetchml.v1.gpu_pb2 import Booking, Gpu, GpuList, ListBookingsResponse
from fetchml.v1.history_pb2 import (
    HistoryChunk,
    HistoryView,
    ListHistoryViewsResponse,
    QueryHistoryRowsResponse,
)
from fetchml.v1.jupyter_pb2 import JupyterServiceInfo, ListJupyterServicesResponse
from fetchml.v1.notification_pb2 import (
    ListNotificationsResponse,
    Notification,
    NotificationSettings,
    TestNotificationResponse,
    WebhookSecret,
)
from fetchml.v1.queue_pb2 import ListQueueResponse, QueueStats
from fetchml.v1.secret_pb2 import ListSecretsResponse, Secret
from fetchml.v1.server_pb2 import DoctorReport, ServerInfo
from fetchml.v1.snapshot_pb2 import (
    ListSnapshotsResponse,
    Snapshot,
    SnapshotFile,
    SnapshotFileChunk,
    UploadSnapshotRequest,
)
from fetchml.v1.sweep_pb2 import (
    CancelSweepResponse,
    ListBestTasksResponse,
    ListSweepsResponse,
    RetrySweepResponse,
    Sweep,
)
from fetchml.v1.task_pb2 import FULL, CreateTaskRequest
from fetchml.v1.usage_pb2 import GpuHistory, GpuHoursList

if TYPE_CHECKING:
    from fetchml.client.snapshots import LocalSnapshot


class AsyncClient(AsyncTasks):
    """A client of a server, for asyncio: create it in the event loop that uses it.

    Calls raise CallError. To leave an iterator early, close it with `contextlib.aclosing`.
    """

    # Sweeps

    async def create_sweep(
        self,
        task: CreateTaskRequest,
        parameters: Mapping[str, Values],
        **fields: Unpack[SweepFields],
    ) -> Sweep:
        """Create a sweep with all of its tasks; returns once the server has stored it. Retries
        never create a second one.

        `{lr}` in `args`, `command` and values of `env` of the task stands for the parameter `lr`.
        `parameters` has a list of values for each, or a SweepParameter.
        """
        request = sweep_request(task, parameters, fields)
        if not request.HasField("idempotency_key"):
            request.idempotency_key = str(uuid4())
        return await self.call(Rpc("SweepService/CreateSweep", request, Sweep))

    async def validate_sweep(
        self,
        task: CreateTaskRequest,
        parameters: Mapping[str, Values],
        **fields: Unpack[SweepFields],
    ) -> Sweep:
        """Check a sweep as `create_sweep` does, and create nothing. Returns it without id, with
        its `total` and its first five `tasks`."""
        request = sweep_request(task, parameters, fields)
        request.validate_only = True
        return await self.call(Rpc("SweepService/CreateSweep", request, Sweep))

    async def sweeps(
        self, *, user_id: str = "", limit: int | None = None, offset: int | None = None
    ) -> ListSweepsResponse:
        """Return sweeps, newest first, at most `limit` (50 by default), and the `total`."""
        request = sweep_pb2.ListSweepsRequest(user_id=user_id, limit=limit, offset=offset)
        return await self.call(Rpc("SweepService/ListSweeps", request, ListSweepsResponse))

    async def get_sweep(self, sweep_id: str) -> Sweep:
        """Return a sweep with the number of its tasks by status. `list(sweep_id=…)` yields
        them."""
        request = sweep_pb2.GetSweepRequest(sweep_id=sweep_id)
        return await self.call(Rpc("SweepService/GetSweep", request, Sweep))

    async def cancel_sweep(self, sweep_id: str) -> int:
        """Cancel all tasks of a sweep that have not ended. Returns their number."""
        request = sweep_pb2.CancelSweepRequest(sweep_id=sweep_id)
        rpc = Rpc("SweepService/CancelSweep", request, CancelSweepResponse)
        return (await self.call(rpc)).tasks

    async def retry_sweep(self, sweep_id: str) -> int:
        """Submit the failed tasks of a sweep again, cancelled ones included. Returns their
        number."""
        request = sweep_pb2.RetrySweepRequest(sweep_id=sweep_id)
        rpc = Rpc("SweepService/RetrySweep", request, RetrySweepResponse)
        return (await self.call(rpc)).tasks

    async def best_of_sweep(
        self, sweep_id: str, metric: str, *, goal: str = "min", limit: int | None = None
    ) -> ListBestTasksResponse:
        """Return the completed tasks with the best values of a metric, at most `limit` (10 by
        default). `goal` is `min` or `max`."""
        request = sweep_pb2.ListBestTasksRequest(
            sweep_id=sweep_id, metric=metric, goal=goal, limit=limit
        )
        return await self.call(Rpc("SweepService/ListBestTasks", request, ListBestTasksResponse))

    # The queue and the server

    async def queue(self) -> QueueStats:
        request = queue_pb2.GetQueueRequest()
        return await self.call(Rpc("QueueService/GetQueue", request, QueueStats))

    def watch_queue(self) -> AsyncGenerator[QueueStats]:
        """Yield the numbers of the queue, now and when they have changed, without end. Starts over
        after a lost connection."""
        request = queue_pb2.WatchQueueRequest()
        return self._newest(Rpc("QueueService/WatchQueue", request, QueueStats))

    async def waiting(self, limit: int | None = None) -> ListQueueResponse:
        """Return the waiting tasks in the order in which they start, at most `limit` (100 by
        default), with position, reason and estimate of each, and the `total`."""
        request = queue_pb2.ListQueueRequest(limit=limit, view=FULL)
        return await self.call(Rpc("QueueService/ListQueue", request, ListQueueResponse))

    async def server_info(self) -> ServerInfo:
        """Return the server's defaults, limits, quotas and names, and the caller's role."""
        request = server_pb2.GetServerInfoRequest()
        return await self.call(Rpc("ServerService/GetServerInfo", request, ServerInfo))

    async def doctor(self) -> DoctorReport:
        """Check the server's host. For admins."""
        request = server_pb2.RunDoctorRequest()
        return await self.call(Rpc("ServerService/RunDoctor", request, DoctorReport))

    async def health(self) -> bool:
        """Return whether the server accepts tasks. Needs no API key."""
        rpc = Rpc("grpc.health.v1.Health/Check", HealthCheckRequest(), HealthCheckResponse)
        reply = await self.call(rpc)
        return reply.status == reply.SERVING

    # GPUs

    async def gpus(self) -> GpuList:
        """Return the GPUs of the host, ordered by number."""
        request = gpu_pb2.ListGpusRequest()
        return await self.call(Rpc("GpuService/ListGpus", request, GpuList))

    def watch_gpus(self) -> AsyncGenerator[GpuList]:
        """Yield what `gpus` returns, now and when it has changed, at most once a second, without
        end. Starts over after a lost connection."""
        return self._newest(Rpc("GpuService/WatchGpus", gpu_pb2.WatchGpusRequest(), GpuList))

    async def gpu_history(
        self,
        *,
        since: Timestamp | None = None,
        until: Timestamp | None = None,
        points: int | None = None,
    ) -> GpuHistory:
        """Return the use of each GPU and the tasks that held it; by default of the last hour."""
        request = usage_pb2.GetGpuHistoryRequest(since=since, until=until, points=points)
        return await self.call(Rpc("UsageService/GetGpuHistory", request, GpuHistory))

    async def gpu_hours(
        self, *, since: Timestamp | None = None, until: Timestamp | None = None
    ) -> GpuHoursList:
        """Return GPU hours and ended tasks by day and user; by default of the last 30 days."""
        request = usage_pb2.ListGpuHoursRequest(since=since, until=until)
        return await self.call(Rpc("UsageService/ListGpuHours", request, GpuHoursList))

    async def drain_gpu(self, uuid: str) -> Gpu:
        """Start nothing more on a GPU; what runs on it continues. For admins."""
        request = gpu_pb2.DrainGpuRequest(uuid=uuid)
        return await self.call(Rpc("GpuService/DrainGpu", request, Gpu))

    async def undrain_gpu(self, uuid: str) -> Gpu:
        """Mark a GPU healthy, clear its recorded errors, and use it again. For admins."""
        request = gpu_pb2.UndrainGpuRequest(uuid=uuid)
        return await self.call(Rpc("GpuService/UndrainGpu", request, Gpu))

    # Reservations of GPUs

    async def reserve(
        self,
        user: str,
        *,
        until: datetime,
        since: datetime | None = None,
        gpu_uuids: Sequence[str] = (),
        gpu: int | None = None,
    ) -> Booking:
        """Reserve GPUs for a user: these, or `gpu` of them that the server chooses. For admins.

        Times need a time zone; without `since` it begins now.
        """
        request = gpu_pb2.CreateBookingRequest(
            user_id=user, starts_at=since, ends_at=until, gpu_uuids=gpu_uuids, gpu=gpu
        )
        rpc = Rpc("GpuService/CreateBooking", request, Booking, repeatable=False)
        return await self.call(rpc)

    async def reservations(self) -> Sequence[Booking]:
        """Return the reservations that have not ended, in the order of their begin."""
        request = gpu_pb2.ListBookingsRequest()
        rpc = Rpc("GpuService/ListBookings", request, ListBookingsResponse)
        return (await self.call(rpc)).bookings

    async def remove_reservation(self, booking_id: str) -> None:
        """Remove a reservation, also one that has begun. For admins."""
        request = gpu_pb2.DeleteBookingRequest(booking_id=booking_id)
        await self.call(Rpc("GpuService/DeleteBooking", request, Empty, deletes=True))

    # Experiments

    async def experiments(self) -> Sequence[Experiment]:
        """Return all experiments, newest first."""
        request = experiment_pb2.ListExperimentsRequest(view=FULL)
        rpc = Rpc("ExperimentService/ListExperiments", request, ListExperimentsResponse)
        return (await self.call(rpc)).experiments

    async def create_experiment(
        self, name: str, *, description: str | None = None, commit_id: str | None = None
    ) -> Experiment:
        """Create an experiment. It may exist after Unavailable: that call is not retried."""
        request = experiment_pb2.CreateExperimentRequest(
            name=name, description=description, commit_id=commit_id, view=FULL
        )
        rpc = Rpc("ExperimentService/CreateExperiment", request, Experiment, repeatable=False)
        return await self.call(rpc)

    async def get_experiment(self, experiment_id: str) -> Experiment:
        request = experiment_pb2.GetExperimentRequest(experiment_id=experiment_id, view=FULL)
        return await self.call(Rpc("ExperimentService/GetExperiment", request, Experiment))

    async def archive_experiment(self, experiment_id: str) -> Experiment:
        """Accept no more tasks for an experiment."""
        request = experiment_pb2.ArchiveExperimentRequest(experiment_id=experiment_id, view=FULL)
        return await self.call(Rpc("ExperimentService/ArchiveExperiment", request, Experiment))

    async def delete_experiment(self, experiment_id: str) -> None:
        """Delete an experiment. Its tasks stay."""
        request = experiment_pb2.DeleteExperimentRequest(experiment_id=experiment_id)
        await self.call(Rpc("ExperimentService/DeleteExperiment", request, Empty, deletes=True))

    async def experiment_results(
        self, experiment_id: str, *, limit: int | None = None, offset: int | None = None
    ) -> ListExperimentResultsResponse:
        """Return the runs of an experiment, newest first, at most `limit` (100 by default): their
        arguments, labels, times and metrics, and the `total`."""
        request = experiment_pb2.ListExperimentResultsRequest(
            experiment_id=experiment_id, limit=limit, offset=offset
        )
        reply = ListExperimentResultsResponse
        return await self.call(Rpc("ExperimentService/ListExperimentResults", request, reply))

    # Snapshots

    async def upload(self, folder: str | Path) -> Snapshot:
        """Upload a folder's code for use as `snapshot_id`, unless the server already has it.

        Includes the files that git tracks or would track; outside of a repository, all that no
        .gitignore excludes. Always leaves out what a .fetchmlignore excludes. Raises BadFolder.
        """
        from fetchml.client.snapshots import LocalSnapshot  # noqa: PLC0415  # few need it

        local = await asyncio.to_thread(LocalSnapshot.read, Path(folder))
        if (existing := await self.find_snapshot(local.id)) is not None:
            return existing
        archive, _ = await asyncio.to_thread(local.pack)
        with archive:
            return await self.send_snapshot(local, archive)

    async def send_snapshot(self, local: "LocalSnapshot", archive: BinaryIO) -> Snapshot:
        """Upload a packed snapshot, without a deadline; starts over after a lost connection."""

        def pieces() -> Iterator[Message]:
            archive.seek(0)
            return local.pieces(archive)

        rpc = Rpc("SnapshotService/UploadSnapshot", UploadSnapshotRequest(), Snapshot)
        return await self.send(rpc, pieces, deadline=None)

    async def send_archive(self, archive: bytes) -> Snapshot:
        """Upload a tar.gz archive as a snapshot."""
        size = 1 << 20

        def pieces() -> Iterator[Message]:
            for first in range(0, len(archive), size):
                yield UploadSnapshotRequest(data=archive[first : first + size])

        rpc = Rpc("SnapshotService/UploadSnapshot", UploadSnapshotRequest(), Snapshot)
        return await self.send(rpc, pieces, deadline=None)

    async def snapshots(self) -> Sequence[Snapshot]:
        """Return all snapshots, newest first."""
        request = snapshot_pb2.ListSnapshotsRequest()
        rpc = Rpc("SnapshotService/ListSnapshots", request, ListSnapshotsResponse)
        return (await self.call(rpc)).snapshots

    async def get_snapshot(self, snapshot_id: str) -> Snapshot:
        request = snapshot_pb2.GetSnapshotRequest(snapshot_id=snapshot_id)
        return await self.call(Rpc("SnapshotService/GetSnapshot", request, Snapshot))

    async def find_snapshot(self, snapshot_id: str) -> Snapshot | None:
        """Return a snapshot; `None` if the server does not have it."""
        try:
            return await self.get_snapshot(snapshot_id)
        except NotFound:
            return None

    async def snapshot_files(self, snapshot_id: str) -> AsyncIterator[SnapshotFile]:
        """Yield the files and links of a snapshot, in the order of their paths."""
        offset = 0
        while True:
            request = snapshot_pb2.ListSnapshotFilesRequest(snapshot_id=snapshot_id, offset=offset)
            reply = snapshot_pb2.ListSnapshotFilesResponse
            part = await self.call(Rpc("SnapshotService/ListSnapshotFiles", request, reply))
            for file in part.files:
                yield file
            offset += len(part.files)
            if not part.files or offset >= part.total:
                return

    async def read_snapshot_file(self, snapshot_id: str, path: str) -> AsyncGenerator[bytes]:
        """Yield a file of a snapshot in pieces. Raises Unavailable if the connection is lost."""
        request = snapshot_pb2.ReadSnapshotFileRequest(snapshot_id=snapshot_id, path=path)
        rpc = Rpc("SnapshotService/ReadSnapshotFile", request, SnapshotFileChunk)
        async with aclosing(self.stream(rpc)) as pieces:
            async for piece in pieces:
                yield piece.data

    async def delete_snapshot(self, snapshot_id: str) -> None:
        """Delete a snapshot. Raises Conflict while a live task or an experiment uses it."""
        request = snapshot_pb2.DeleteSnapshotRequest(snapshot_id=snapshot_id)
        await self.call(Rpc("SnapshotService/DeleteSnapshot", request, Empty, deletes=True))

    # Jupyter services

    async def list_jupyter(self) -> Sequence[JupyterServiceInfo]:
        """Return all Jupyter services, newest first, with the tokens of your own."""
        request = jupyter_pb2.ListJupyterServicesRequest(view=FULL)
        rpc = Rpc("JupyterService/ListJupyterServices", request, ListJupyterServicesResponse)
        return (await self.call(rpc)).services

    async def start_jupyter(self, name: str, **fields: Unpack[JupyterFields]) -> JupyterServiceInfo:
        """Start a Jupyter service; returns before Jupyter answers, so watch its `status`.

        Its link is `{url}lab?token={token}`. It may exist after Unavailable: that call is not
        retried.
        """
        request = jupyter_pb2.StartJupyterRequest(name=name, view=FULL, **fields)
        rpc = Rpc("JupyterService/StartJupyter", request, JupyterServiceInfo, repeatable=False)
        return await self.call(rpc)

    async def get_jupyter(self, service_id: str) -> JupyterServiceInfo:
        request = jupyter_pb2.GetJupyterServiceRequest(service_id=service_id, view=FULL)
        return await self.call(Rpc("JupyterService/GetJupyterService", request, JupyterServiceInfo))

    async def stop_jupyter(self, service_id: str) -> None:
        """Stop a Jupyter service. Its workspace stays."""
        request = jupyter_pb2.StopJupyterRequest(service_id=service_id)
        await self.call(Rpc("JupyterService/StopJupyter", request, Empty))

    # Environments

    async def environments(
        self, *, user_id: str = "", limit: int = 50, offset: int = 0
    ) -> ListEnvironmentsResponse:
        """Return your environments, the last used first; for admins those of all users, or of
        `user_id`. `limit`: at most 1000."""
        request = environment_pb2.ListEnvironmentsRequest(
            user_id=user_id, limit=limit, offset=offset
        )
        rpc = Rpc("EnvironmentService/ListEnvironments", request, ListEnvironmentsResponse)
        return await self.call(rpc)

    async def delete_environment(self, environment_id: str) -> None:
        """Remove an environment that no task uses; the next task builds it again. Raises NotFound,
        Conflict."""
        request = environment_pb2.DeleteEnvironmentRequest(environment_id=environment_id)
        await self.call(Rpc("EnvironmentService/DeleteEnvironment", request, Empty, deletes=True))

    # History

    async def history_views(self) -> Sequence[HistoryView]:
        """Return the views that queries can read, with their columns."""
        request = history_pb2.ListHistoryViewsRequest()
        rpc = Rpc("HistoryService/ListHistoryViews", request, ListHistoryViewsResponse)
        return (await self.call(rpc)).views

    async def query_rows(self, sql: str) -> QueryHistoryRowsResponse:
        """Return the first rows of a SELECT statement: at most 10,000."""
        request = history_pb2.QueryHistoryRowsRequest(sql=sql)
        rpc = Rpc("HistoryService/QueryHistoryRows", request, QueryHistoryRowsResponse)
        return await self.call(rpc)

    async def query(self, sql: str, *, form: str = "parquet") -> AsyncGenerator[bytes]:
        """Yield the result of a SELECT statement as a file, in pieces.

        `form`: `parquet`, `csv` or `json`. Raises ValueError for another one.
        """
        request = history_pb2.QueryHistoryRequest(sql=sql, format=f"FORMAT_{form.upper()}")
        rpc = Rpc("HistoryService/QueryHistory", request, HistoryChunk)
        async with aclosing(self.stream(rpc)) as pieces:
            async for piece in pieces:
                yield piece.data

    async def export_view(self, name: str) -> AsyncGenerator[bytes]:
        """Yield all rows of a view as a Parquet file, in pieces."""
        request = history_pb2.ExportHistoryRequest(view=name)
        rpc = Rpc("HistoryService/ExportHistory", request, HistoryChunk)
        async with aclosing(self.stream(rpc)) as pieces:
            async for piece in pieces:
                yield piece.data

    # Secrets

    async def set_secret(self, name: str, value: str) -> Secret:
        """Create a secret or replace its value. Attempts of tasks that start later get it.

        A task names it: `submit(…, secrets=["HF_TOKEN", "KEY:file"])`.
        """
        request = secret_pb2.SetSecretRequest(name=name, value=value)
        return await self.call(Rpc("SecretService/SetSecret", request, Secret))

    async def secrets(self, *, user_id: str = "") -> list[Secret]:
        """Return your secrets by name, without their values; for admins those of `user_id`."""
        request = secret_pb2.ListSecretsRequest(user_id=user_id)
        rpc = Rpc("SecretService/ListSecrets", request, ListSecretsResponse)
        return [*(await self.call(rpc)).secrets]

    async def delete_secret(self, name: str, *, user_id: str = "") -> None:
        """Remove a secret; for admins one of `user_id`. Raises NotFound."""
        request = secret_pb2.DeleteSecretRequest(name=name, user_id=user_id)
        await self.call(Rpc("SecretService/DeleteSecret", request, Empty, deletes=True))

    # Notifications

    async def notifications(
        self, *, state: str = "", limit: int | None = None, offset: int | None = None
    ) -> ListNotificationsResponse:
        """Return the caller's messages that are not delivered, newest first, at most `limit` (50
        by default). `state` is `pending` or `dead`."""
        request = notification_pb2.ListNotificationsRequest(
            state=state or None, limit=limit, offset=offset
        )
        rpc = Rpc("NotificationService/ListNotifications", request, ListNotificationsResponse)
        return await self.call(rpc)

    async def retry_notification(self, notification_id: str) -> Notification:
        """Send a message again, at once and for another day if it fails."""
        request = notification_pb2.RetryNotificationRequest(notification_id=notification_id)
        return await self.call(Rpc("NotificationService/RetryNotification", request, Notification))

    async def notification_settings(self) -> NotificationSettings:
        """Return the caller's default addresses."""
        request = notification_pb2.GetNotificationSettingsRequest()
        rpc = Rpc("NotificationService/GetNotificationSettings", request, NotificationSettings)
        return await self.call(rpc)

    async def set_notification_settings(self, notify: Sequence[Target]) -> NotificationSettings:
        """Replace the caller's default addresses: URLs, or `{"url": …, "on": ["failed"]}`."""
        request = notification_pb2.SetNotificationSettingsRequest(notify=map(target, notify))
        rpc = Rpc("NotificationService/SetNotificationSettings", request, NotificationSettings)
        return await self.call(rpc)

    async def webhook_secret(self, url: str) -> WebhookSecret:
        """Return the secret that signs the caller's webhooks to the URL's host."""
        request = notification_pb2.GetWebhookSecretRequest(url=url)
        return await self.call(Rpc("NotificationService/GetWebhookSecret", request, WebhookSecret))

    async def replace_webhook_secrets(self) -> None:
        """Replace all secrets of the caller. For a day webhooks also carry signatures by the old
        ones."""
        request = notification_pb2.ReplaceWebhookSecretsRequest()
        method = "NotificationService/ReplaceWebhookSecrets"
        await self.call(Rpc(method, request, Empty, repeatable=False))

    async def test_notification(self, url: str) -> TestNotificationResponse:
        """Send a test message and return how the receiver answered."""
        request = notification_pb2.TestNotificationRequest(url=url)
        method = "NotificationService/TestNotification"
        return await self.call(Rpc(method, request, TestNotificationResponse, repeatable=False))
