"""The services with few methods by hand: experiments, Jupyter services, GPUs, and backup.

The table of `fetchml.api.operations` has their other methods."""
# ruff: noqa: N802  # methods have the RPCs' names

from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial

from google.protobuf.empty_pb2 import Empty

from fetchml.api.grpc.call import RpcContext
from fetchml.api.mappings import EXPERIMENT, GPUS, JUPYTER_SERVICE
from fetchml.api.task_messages import wants_full
from fetchml.backup.store_copy import StoreCopies
from fetchml.core.model import Principal
from fetchml.core.requests import experiment, jupyter
from fetchml.core.requests.experiment import Experiment
from fetchml.engine.experiments import Experiments
from fetchml.engine.gpus.gpus import Gpus
from fetchml.jupyter.service import JupyterServices
from fetchml.system.pacing import map_paced
from fetchml.v1 import (
    backup_pb2,
    backup_pb2_grpc,
    experiment_pb2,
    experiment_pb2_grpc,
    gpu_pb2,
    gpu_pb2_grpc,
    jupyter_pb2,
    jupyter_pb2_grpc,
)


class GpuService(gpu_pb2_grpc.GpuServiceServicer):
    def __init__(self, gpus: Gpus) -> None:
        self._gpus = gpus

    async def WatchGpus(
        self, _: gpu_pb2.WatchGpusRequest, context: RpcContext
    ) -> AsyncIterator[gpu_pb2.GpuList]:
        async with aclosing(self._gpus.watch(context.principal)) as reports:
            async for report in reports:
                yield GPUS.message(report)


class ExperimentService(experiment_pb2_grpc.ExperimentServiceServicer):
    def __init__(self, experiments: Experiments) -> None:
        self._experiments = experiments

    async def ListExperiments(
        self, request: experiment_pb2.ListExperimentsRequest, context: RpcContext
    ) -> experiment_pb2.ListExperimentsResponse:
        full = wants_full(request.view)
        found = self._experiments.list(context.principal)
        messages = await map_paced(partial(self._shown, context.principal, full=full), found)
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

    def _shown(self, who: Principal, found: Experiment, *, full: bool) -> experiment_pb2.Experiment:
        return EXPERIMENT.message(self._experiments.with_counts(who, found), full=full)


class JupyterService(jupyter_pb2_grpc.JupyterServiceServicer):
    def __init__(self, jupyter: JupyterServices) -> None:
        self._jupyter = jupyter

    async def ListJupyterServices(
        self, request: jupyter_pb2.ListJupyterServicesRequest, context: RpcContext
    ) -> jupyter_pb2.ListJupyterServicesResponse:
        full = wants_full(request.view)
        found = self._jupyter.list(context.principal)
        return jupyter_pb2.ListJupyterServicesResponse(
            services=[JUPYTER_SERVICE.message(service, full=full) for service in found]
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
