"""The services with few methods by hand: the queue, experiments, sweeps, snapshots,
Jupyter services, GPUs and backup. The table in `fetchml.api.operation_table` has their other
methods."""
# ruff: noqa: N802  # methods have the RPCs' names

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, closing
from functools import partial
from typing import BinaryIO

from google.protobuf.empty_pb2 import Empty
from google.protobuf.struct_pb2 import Value

from fetchml.api.grpc.call import RpcContext
from fetchml.api.grpc.tasks import idempotency_key
from fetchml.api.message_fields import (
    ESTIMATE,
    EXPERIMENT,
    GPUS,
    JUPYTER_SERVICE,
    QUEUE,
    SNAPSHOT,
    SWEEP,
)
from fetchml.api.task_messages import fill_task, split_create, task_message, wants_full
from fetchml.backup.store_copy import StoreCopies
from fetchml.core import jupyter
from fetchml.core.model import Principal
from fetchml.core.requests import experiment
from fetchml.core.requests.experiment import Experiment
from fetchml.core.sweeps.definition import MAX_PARAMETERS
from fetchml.core.sweeps.search_space import KINDS, MAX_TASKS
from fetchml.engine.engine import Engine
from fetchml.engine.experiments import Experiments
from fetchml.engine.gpus.gpus import Gpus
from fetchml.engine.sweeps import SweepView
from fetchml.errors import BadRequest
from fetchml.history.history_service import CHUNK_BYTES, History
from fetchml.jupyter.jupyter_service import JupyterServices
from fetchml.snapshots.snapshot_service import Snapshots
from fetchml.system.pacing import map_paced
from fetchml.system.threads import run_in_thread
from fetchml.v1 import (
    backup_pb2,
    backup_pb2_grpc,
    experiment_pb2,
    experiment_pb2_grpc,
    gpu_pb2,
    gpu_pb2_grpc,
    history_pb2,
    history_pb2_grpc,
    jupyter_pb2,
    jupyter_pb2_grpc,
    queue_pb2,
    queue_pb2_grpc,
    snapshot_pb2,
    snapshot_pb2_grpc,
    sweep_pb2,
    sweep_pb2_grpc,
)
from fetchml.views import WaitingTask


class GpuService(gpu_pb2_grpc.GpuServiceServicer):
    def __init__(self, gpus: Gpus) -> None:
        self._gpus = gpus

    async def WatchGpus(
        self, _: gpu_pb2.WatchGpusRequest, context: RpcContext
    ) -> AsyncIterator[gpu_pb2.GpuList]:
        async with aclosing(self._gpus.watch(context.principal)) as reports:
            async for report in reports:
                yield GPUS.message(report)


_FORMS = {
    history_pb2.QueryHistoryRequest.FORMAT_UNSPECIFIED: "parquet",
    history_pb2.QueryHistoryRequest.FORMAT_PARQUET: "parquet",
    history_pb2.QueryHistoryRequest.FORMAT_CSV: "csv",
    history_pb2.QueryHistoryRequest.FORMAT_JSON: "json",
}


class HistoryService(history_pb2_grpc.HistoryServiceServicer):
    def __init__(self, history: History) -> None:
        self._history = history

    async def QueryHistory(
        self, request: history_pb2.QueryHistoryRequest, context: RpcContext
    ) -> AsyncIterator[history_pb2.HistoryChunk]:
        form = _FORMS.get(request.format)
        if form is None:
            raise BadRequest(
                f"format: unknown value {request.format}; expected parquet, csv or json"
            )
        async for chunk in _chunks(await self._history.file(context.principal, request.sql, form)):
            yield chunk

    async def ExportHistory(
        self, request: history_pb2.ExportHistoryRequest, context: RpcContext
    ) -> AsyncIterator[history_pb2.HistoryChunk]:
        async for chunk in _chunks(await self._history.export(context.principal, request.view)):
            yield chunk


async def _chunks(file: BinaryIO) -> AsyncIterator[history_pb2.HistoryChunk]:
    with file:
        while data := await run_in_thread(file.read, CHUNK_BYTES):
            yield history_pb2.HistoryChunk(data=data)


class ExperimentService(experiment_pb2_grpc.ExperimentServiceServicer):
    def __init__(self, experiments: Experiments) -> None:
        self._experiments = experiments

    async def ListExperiments(
        self, request: experiment_pb2.ListExperimentsRequest, context: RpcContext
    ) -> experiment_pb2.ListExperimentsResponse:
        full = wants_full(request.view)
        experiments = self._experiments.list(context.principal)
        messages = await map_paced(partial(self._shown, context.principal, full=full), experiments)
        return experiment_pb2.ListExperimentsResponse(experiments=messages)

    async def CreateExperiment(
        self, request: experiment_pb2.CreateExperimentRequest, context: RpcContext
    ) -> experiment_pb2.Experiment:
        full = wants_full(request.view)
        fields = {
            name: getattr(request, name)
            for name in experiment.KNOWN_FIELDS
            if request.HasField(name)
        }
        made = await self._experiments.create(context.principal, fields)
        return self._shown(context.principal, made, full=full)

    def _shown(
        self, who: Principal, experiment: Experiment, *, full: bool
    ) -> experiment_pb2.Experiment:
        return EXPERIMENT.message(self._experiments.with_counts(who, experiment), full=full)


class JupyterService(jupyter_pb2_grpc.JupyterServiceServicer):
    def __init__(self, jupyter: JupyterServices) -> None:
        self._jupyter = jupyter

    async def ListJupyterServices(
        self, request: jupyter_pb2.ListJupyterServicesRequest, context: RpcContext
    ) -> jupyter_pb2.ListJupyterServicesResponse:
        full = wants_full(request.view)
        services = self._jupyter.list(context.principal)
        return jupyter_pb2.ListJupyterServicesResponse(
            services=[JUPYTER_SERVICE.message(service, full=full) for service in services]
        )

    async def GetJupyterService(
        self, request: jupyter_pb2.GetJupyterServiceRequest, context: RpcContext
    ) -> jupyter_pb2.JupyterServiceInfo:
        full = wants_full(request.view)
        return JUPYTER_SERVICE.message(
            self._jupyter.get(context.principal, request.service_id), full=full
        )

    async def StartJupyter(
        self, request: jupyter_pb2.StartJupyterRequest, context: RpcContext
    ) -> jupyter_pb2.JupyterServiceInfo:
        full = wants_full(request.view)
        fields = {
            name: getattr(request, name) for name in jupyter.KNOWN_FIELDS if request.HasField(name)
        }
        return JUPYTER_SERVICE.message(
            await self._jupyter.start(context.principal, fields), full=full
        )

    async def StopJupyter(
        self, request: jupyter_pb2.StopJupyterRequest, context: RpcContext
    ) -> Empty:
        await self._jupyter.stop(context.principal, request.service_id)
        return Empty()


class BackupService(backup_pb2_grpc.BackupServiceServicer):
    def __init__(self, copies: StoreCopies) -> None:
        self._copies = copies

    async def CopyStore(
        self, _: backup_pb2.CopyStoreRequest, context: RpcContext
    ) -> backup_pb2.CopyStoreResponse:
        return backup_pb2.CopyStoreResponse(folder=await self._copies.make(context.principal))


class QueueService(queue_pb2_grpc.QueueServiceServicer):
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def GetQueue(
        self, _: queue_pb2.GetQueueRequest, context: RpcContext
    ) -> queue_pb2.QueueStats:
        return QUEUE.message(await self._engine.status.queue_stats(context.principal))

    async def WatchQueue(
        self, _: queue_pb2.WatchQueueRequest, context: RpcContext
    ) -> AsyncIterator[queue_pb2.QueueStats]:
        async with aclosing(self._engine.status.watch_queue(context.principal)) as reports:
            async for report in reports:
                yield QUEUE.message(report)

    async def ListQueue(
        self, request: queue_pb2.ListQueueRequest, context: RpcContext
    ) -> queue_pb2.ListQueueResponse:
        full = wants_full(request.view)
        limit = request.limit if request.HasField("limit") else None
        waiting = await self._engine.tasks.waiting(context.principal, limit)
        return queue_pb2.ListQueueResponse(
            waiting=await map_paced(partial(_waiting, full=full), waiting.tasks),
            total=waiting.total,
        )


def _waiting(waiting: WaitingTask, *, full: bool) -> queue_pb2.WaitingTask:
    estimate = waiting.estimate
    return queue_pb2.WaitingTask(
        task=task_message(waiting.task, full=full),
        position=waiting.position,
        reason=waiting.reason,
        estimate=None if estimate is None else ESTIMATE.message(estimate),
    )


_PLAIN = ("name", "samples", "random_seed", "max_parallel")


class SweepService(sweep_pb2_grpc.SweepServiceServicer):
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def CreateSweep(
        self, request: sweep_pb2.CreateSweepRequest, context: RpcContext
    ) -> sweep_pb2.Sweep:
        made = await self._engine.sweeps.create(
            context.principal,
            await _sweep_fields(request),
            idempotency_key(request, context),
            validate_only=request.validate_only,
        )
        return _validated(made) if request.validate_only else SWEEP.message(made)


async def _sweep_fields(request: sweep_pb2.CreateSweepRequest) -> dict[str, object]:
    """Return the fields that are set, in the shape of the REST body. Raises BadRequest."""
    fields: dict[str, object] = {
        name: getattr(request, name) for name in _PLAIN if request.HasField(name)
    }
    if request.HasField("mode"):
        if request.mode not in sweep_pb2.Sweep.Mode.values():
            raise BadRequest(f"mode: unknown value {request.mode}; expected grid, zip or random")
        if request.mode:
            fields["mode"] = sweep_pb2.Sweep.Mode.Name(request.mode)
    if request.HasField("task"):
        fields["task"] = split_create(request.task)[0]
    parameters: dict[str, object] = {}
    for name in list(request.parameters)[: MAX_PARAMETERS + 1]:
        parameter = request.parameters[name]
        # One item more than a rule allows is enough to violate the rule.
        parameters[name] = {
            kind: await map_paced(_plain, getattr(parameter, kind)[: MAX_TASKS + 1])
            for kind in KINDS
            if getattr(parameter, kind)
        }
    fields["parameters"] = parameters
    return fields


def _plain(value: Value | float) -> object:
    if not isinstance(value, Value):
        return value
    if (kind := value.WhichOneof("kind")) in ("string_value", "number_value", "bool_value"):
        field: object = getattr(value, kind)
        return field
    return None


def _validated(view: SweepView) -> sweep_pb2.Sweep:
    message = SWEEP.message(view)
    message.ClearField("id")
    for task in view.tasks:
        shown = message.tasks.add()
        fill_task(shown, task, full=True)
        shown.ClearField("id")
        shown.ClearField("sweep_id")
    return message


STALL_SECONDS = 60
"""An upload fails if no message of it arrives for this long."""

Requests = AsyncIterator[snapshot_pb2.UploadSnapshotRequest]


class SnapshotService(snapshot_pb2_grpc.SnapshotServiceServicer):
    def __init__(self, snapshots: Snapshots) -> None:
        self._snapshots = snapshots

    async def UploadSnapshot(
        self, requests: Requests, context: RpcContext
    ) -> snapshot_pb2.Snapshot:
        first = await _next(requests)
        if first is None:
            raise BadRequest("The upload is empty: send a gzipped tar file")
        snapshot, _ = await self._snapshots.upload(
            context.principal,
            _pieces(first, requests),
            git_commit=first.git_commit if first.HasField("git_commit") else None,
            git_dirty=first.git_dirty if first.HasField("git_dirty") else None,
        )
        return SNAPSHOT.message(snapshot)

    async def ListSnapshots(
        self, _: snapshot_pb2.ListSnapshotsRequest, context: RpcContext
    ) -> snapshot_pb2.ListSnapshotsResponse:
        snapshots = self._snapshots.list(context.principal)
        messages = await map_paced(SNAPSHOT.message, snapshots)
        return snapshot_pb2.ListSnapshotsResponse(snapshots=messages)

    async def ReadSnapshotFile(
        self, request: snapshot_pb2.ReadSnapshotFileRequest, context: RpcContext
    ) -> AsyncIterator[snapshot_pb2.SnapshotFileChunk]:
        opened = await self._snapshots.reads.open(
            context.principal, request.snapshot_id, request.path
        )
        with closing(opened) as file:
            async with aclosing(file.pieces(0, file.size)) as pieces:
                async for piece in pieces:
                    yield snapshot_pb2.SnapshotFileChunk(data=piece)


async def _pieces(
    first: snapshot_pb2.UploadSnapshotRequest, others: Requests
) -> AsyncIterator[bytes]:
    request: snapshot_pb2.UploadSnapshotRequest | None = first
    while request is not None:
        yield request.data
        request = await _next(others)


async def _next(requests: Requests) -> snapshot_pb2.UploadSnapshotRequest | None:
    try:
        async with asyncio.timeout(STALL_SECONDS):
            return await anext(requests, None)
    except TimeoutError:
        raise BadRequest(
            f"The upload timed out: no message received for {STALL_SECONDS} s"
        ) from None
