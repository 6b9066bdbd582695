"""ExperimentService."""
# ruff: noqa: N802  # methods have the RPCs' names

from functools import partial

from google.protobuf.empty_pb2 import Empty

from fetchml.api.experiment_mappings import EXPERIMENT, RESULT
from fetchml.api.grpc.rpc_context import RpcContext
from fetchml.api.task_messages import wants_full
from fetchml.core.model import Principal
from fetchml.core.requests.experiment import KNOWN_FIELDS, Experiment
from fetchml.engine.engine import Engine
from fetchml.engine.experiments import Experiments
from fetchml.system.pacing import map_paced
from fetchml.v1 import experiment_pb2, experiment_pb2_grpc


class ExperimentService(experiment_pb2_grpc.ExperimentServiceServicer):
    def __init__(self, experiments: Experiments, engine: Engine) -> None:
        self._experiments = experiments
        self._engine = engine

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
        fields = {name: getattr(request, name) for name in KNOWN_FIELDS if request.HasField(name)}
        made = await self._experiments.create(context.principal, fields)
        return self._shown(context.principal, made, full=full)

    async def GetExperiment(
        self, request: experiment_pb2.GetExperimentRequest, context: RpcContext
    ) -> experiment_pb2.Experiment:
        full = wants_full(request.view)
        found = self._experiments.get(context.principal, request.experiment_id)
        return self._shown(context.principal, found, full=full)

    async def ListExperimentResults(
        self, request: experiment_pb2.ListExperimentResultsRequest, context: RpcContext
    ) -> experiment_pb2.ListExperimentResultsResponse:
        found = await self._engine.experiment_results(
            context.principal,
            request.experiment_id,
            request.limit if request.HasField("limit") else None,
            request.offset,
        )
        return experiment_pb2.ListExperimentResultsResponse(
            results=await map_paced(RESULT.message, found.results), total=found.total
        )

    async def ArchiveExperiment(
        self, request: experiment_pb2.ArchiveExperimentRequest, context: RpcContext
    ) -> experiment_pb2.Experiment:
        full = wants_full(request.view)
        archived = await self._experiments.archive(context.principal, request.experiment_id)
        return self._shown(context.principal, archived, full=full)

    async def DeleteExperiment(
        self, request: experiment_pb2.DeleteExperimentRequest, context: RpcContext
    ) -> Empty:
        await self._experiments.delete(context.principal, request.experiment_id)
        return Empty()

    def _shown(self, who: Principal, found: Experiment, *, full: bool) -> experiment_pb2.Experiment:
        return EXPERIMENT.message(self._experiments.with_counts(who, found), full=full)
