"""ListTasks requests as plain values."""

from fetchml.api.listing import ListRequest
from fetchml.api.task_messages import milliseconds, states_of, wants_full
from fetchml.core.requests.listing import MAX_LABELS, Filters
from fetchml.v1 import task_pb2


def list_request(request: task_pb2.ListTasksRequest) -> ListRequest:
    """Convert the request; `fetchml.api.listing` validates it. Raises BadRequest."""
    status = states_of([request.status], "status")[0] if request.HasField("status") else None
    times = {
        name: milliseconds(getattr(request, name))
        for name in ("created_after", "created_before")
        if request.HasField(name)
    }
    return ListRequest(
        Filters(
            user=request.user_id,
            job_name_prefix=request.job_name_prefix,
            experiment_id=request.experiment_id,
            sweep_id=request.sweep_id,
            fold_sweeps=request.fold_sweeps,
            fold_experiments=request.fold_experiments,
            text=request.text,
            labels=request.labels[: MAX_LABELS + 1],
            id_suffix=request.id_suffix,
            **times,
        ),
        status=status,
        states=states_of(request.states),
        limit=request.limit if request.HasField("limit") else None,
        offset=request.offset if request.HasField("offset") else None,
        page_size=request.page_size,
        page_token=request.page_token,
        full=wants_full(request.view),
    )
