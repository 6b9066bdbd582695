"""SweepService."""
# ruff: noqa: N802  # methods have the RPCs' names

from google.protobuf.struct_pb2 import Value

from fetchml.api.grpc.call import RpcContext
from fetchml.api.grpc.tasks import idempotency_key
from fetchml.api.mappings import SWEEP
from fetchml.api.task_messages import fill_task, split_create
from fetchml.core.sweeps.definition import MAX_PARAMETERS
from fetchml.core.sweeps.search_space import KINDS, MAX_TASKS
from fetchml.engine.engine import Engine
from fetchml.engine.sweeps import SweepView
from fetchml.errors import BadRequest
from fetchml.system.pacing import map_paced
from fetchml.v1 import sweep_pb2, sweep_pb2_grpc

_PLAIN = ("name", "samples", "random_seed", "max_parallel")


class SweepService(sweep_pb2_grpc.SweepServiceServicer):
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def CreateSweep(
        self, request: sweep_pb2.CreateSweepRequest, context: RpcContext
    ) -> sweep_pb2.Sweep:
        made = await self._engine.sweeps.create(
            context.principal,
            await _fields(request),
            idempotency_key(request, context),
            validate_only=request.validate_only,
        )
        return _validated(made) if request.validate_only else SWEEP.message(made)


async def _fields(request: sweep_pb2.CreateSweepRequest) -> dict[str, object]:
    """Return the fields that are set, in the shape of the REST body. Raises BadRequest."""
    fields: dict[str, object] = {
        name: getattr(request, name) for name in _PLAIN if request.HasField(name)
    }
    if request.HasField("mode"):
        if request.mode not in sweep_pb2.Sweep.Mode.values():
            raise BadRequest(f"mode: {request.mode} is not a mode: use grid, zip or random")
        if request.mode:
            fields["mode"] = sweep_pb2.Sweep.Mode.Name(request.mode)
    if request.HasField("task"):
        fields["task"] = split_create(request.task)[0]
    parameters: dict[str, object] = {}
    for name in list(request.parameters)[: MAX_PARAMETERS + 1]:
        given = request.parameters[name]
        # One item more than a rule allows is enough to violate the rule.
        parameters[name] = {
            kind: await map_paced(_plain, getattr(given, kind)[: MAX_TASKS + 1])
            for kind in KINDS
            if getattr(given, kind)
        }
    fields["parameters"] = parameters
    return fields


def _plain(value: Value | float) -> object:
    if not isinstance(value, Value):
        return value
    if (kind := value.WhichOneof("kind")) in ("string_value", "number_value", "bool_value"):
        found: object = getattr(value, kind)
        return found
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
