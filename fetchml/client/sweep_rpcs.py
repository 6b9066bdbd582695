"""The RPCs of sweeps, as `fetchml.client.rpcs` has those of tasks."""

from collections.abc import Mapping, Sequence
from typing import TypedDict
from uuid import uuid4

from google.protobuf.struct_pb2 import Value

from fetchml.client.rpcs import Rpc
from fetchml.v1 import sweep_pb2
from fetchml.v1.sweep_pb2 import CreateSweepRequest, Sweep, SweepParameter
from fetchml.v1.task_pb2 import CreateTaskRequest

Values = SweepParameter | Sequence[str | float | bool]
"""The values of one parameter: a list, or a SweepParameter with `range`, `uniform` or
`log_uniform`."""


class SweepFields(TypedDict, total=False):
    """Optional fields of a new sweep. proto/fetchml/v1/sweep.proto describes them."""

    name: str
    mode: str
    """`grid`, `zip` or `random`."""
    samples: int
    random_seed: int
    max_parallel: int
    idempotency_key: str


def create_sweep(
    task: CreateTaskRequest,
    parameters: Mapping[str, Values],
    fields: SweepFields,
    *,
    validate_only: bool = False,
) -> Rpc[Sweep]:
    """Raises ValueError for a value that does not fit its field."""
    request = CreateSweepRequest(
        task=task,
        parameters={name: parameter(values) for name, values in parameters.items()},
        validate_only=validate_only,
        **fields,
    )
    if not request.HasField("idempotency_key") and not validate_only:
        request.idempotency_key = str(uuid4())
    return Rpc("SweepService/CreateSweep", request, Sweep)


def parameter(values: Values) -> SweepParameter:
    """Raises ValueError without values, and for one that is no text, number or Boolean."""
    if isinstance(values, SweepParameter):
        return values
    if isinstance(values, str):
        raise ValueError(f"The values of a parameter must be a list, not the text {values[:64]!r}")
    try:
        listed = [_value(each) for each in values]
    except TypeError:  # One value instead of a list.
        listed = []
    if not listed:
        raise ValueError(f"The values of a parameter must be a list with items, not {values!r}")
    return SweepParameter(values=listed)


def list_sweeps(
    user_id: str, limit: int | None, offset: int | None
) -> Rpc[sweep_pb2.ListSweepsResponse]:
    request = sweep_pb2.ListSweepsRequest(user_id=user_id, limit=limit, offset=offset)
    return Rpc("SweepService/ListSweeps", request, sweep_pb2.ListSweepsResponse)


def get_sweep(sweep_id: str) -> Rpc[Sweep]:
    request = sweep_pb2.GetSweepRequest(sweep_id=sweep_id)
    return Rpc("SweepService/GetSweep", request, Sweep)


def cancel_sweep(sweep_id: str) -> Rpc[sweep_pb2.CancelSweepResponse]:
    request = sweep_pb2.CancelSweepRequest(sweep_id=sweep_id)
    return Rpc("SweepService/CancelSweep", request, sweep_pb2.CancelSweepResponse)


def retry_sweep(sweep_id: str) -> Rpc[sweep_pb2.RetrySweepResponse]:
    request = sweep_pb2.RetrySweepRequest(sweep_id=sweep_id)
    return Rpc("SweepService/RetrySweep", request, sweep_pb2.RetrySweepResponse)


def list_best_tasks(
    sweep_id: str, metric: str, goal: str, limit: int | None
) -> Rpc[sweep_pb2.ListBestTasksResponse]:
    request = sweep_pb2.ListBestTasksRequest(
        sweep_id=sweep_id, metric=metric, goal=goal, limit=limit
    )
    return Rpc("SweepService/ListBestTasks", request, sweep_pb2.ListBestTasksResponse)


def _value(given: str | float | bool) -> Value:
    if isinstance(given, bool):
        return Value(bool_value=given)
    if isinstance(given, str):
        return Value(string_value=given)
    if isinstance(given, int | float):
        return Value(number_value=given)
    raise ValueError(f"A value of a parameter must be text, a number or a Boolean, not {given!r}")
