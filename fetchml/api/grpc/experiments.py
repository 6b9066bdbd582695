"""ExperimentService."""
# ruff: noqa: N802  # methods have the RPCs' names

from functools import partial

from fetchml.api.experiment_mappings import EXPERIMENT
from fetchml.api.grpc.rpc_context import RpcContext
from fetchml.api.task_messages import wants_full
from fetchml.core.model import Principal
from fetchml.core.requests.experiment import KNOWN_FIELDS, Experiment
from fetchml.engine.experiments import Experiments
from fetchml.system.pacing import map_paced
from fetchml.v1 import experiment_pb2, experiment_pb2_grpc


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
        fields = {name: getattr(request, name) for name in KNOWN_FIELDS if request.HasField(name)}
        made = await self._experiments.create(context.principal, fields)
        return self._shown(context.principal, made, full=full)

    async def GetExperiment(
        self, request: experiment_pb2.GetExperimentRequest, context: RpcContext
    ) -> experiment_pb2.Experiment:
        full = wants_full(request.view)
        found = self._experiments.get(context.principal, request.experiment_id)
        return self._shown(context.principal, found, full=full)

    def _shown(self, who: Principal, found: Experiment, *, full: bool) -> experiment_pb2.Experiment:
        return EXPERIMENT.message(self._experiments.with_counts(who, found), full=full)
