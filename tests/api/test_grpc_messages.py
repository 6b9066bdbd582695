"""gRPC and REST show the same task and accept the same request."""

from typing import Any

import msgspec
import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from hypothesis import given
from hypothesis import strategies as st

from fetchml.api import task_json, task_messages
from fetchml.api.message_fields import OUTPUT
from fetchml.core.model import Cancel, DatasetSpec, FailureReason, Status, Task, TaskSpec
from fetchml.core.requests.submission import KNOWN_FIELDS
from fetchml.v1 import task_pb2
from fetchml.views import OutputFile, Update, UpdateType

texts = st.text(st.characters(codec="utf-8"), max_size=20)
numbers = st.integers(0, 2**31 - 1)
times = st.integers(0, 253_402_300_799_999) | st.integers(0, 4_000_000).map(lambda s: s * 1000)
TIMES = ("created_at", "started_at", "ended_at", "not_before", "cancel_requested_at")

datasets = st.builds(
    DatasetSpec,
    name=st.none() | texts,
    source=st.none() | texts,
    sha256=st.none() | texts,
    mount_path=st.none() | texts,
)
specs = st.builds(
    TaskSpec,
    job_name=texts,
    image=texts,
    command=st.lists(texts, min_size=1, max_size=3).map(tuple),
    priority=st.integers(1, 10),
    args=st.none() | texts,
    snapshot_id=st.none() | texts,
    datasets=st.none() | st.lists(texts, max_size=3).map(tuple),
    dataset_specs=st.none() | st.lists(datasets, max_size=3).map(tuple),
    cpu=st.none() | numbers,
    memory_gb=st.none() | numbers,
    gpu=st.none() | numbers,
    metadata=st.none() | st.dictionaries(texts, texts, max_size=3),
    env=st.none() | st.dictionaries(texts, texts, max_size=3),
    experiment_id=st.none() | texts,
    timeout_seconds=numbers,
    max_retries=numbers,
    preemptible=st.booleans(),
)
tasks = st.builds(
    Task,
    id=texts,
    user=texts,
    spec=specs,
    created_at=times,
    status=st.sampled_from(Status),
    attempt=numbers,
    retry_count=numbers,
    not_before=times,
    started_at=st.none() | times,
    ended_at=st.none() | times,
    worker_id=st.none() | texts,
    error=st.none() | texts,
    failure_reason=st.none() | st.sampled_from(FailureReason),
    exit_code=st.none() | st.integers(0, 255),
    cancel=st.none() | st.builds(Cancel, by=texts, at=times),
    progress=st.none() | texts,
    prestaged=st.booleans(),
    infra_retries=numbers,
    preempted=numbers,
    gpu_uuids=st.lists(texts, max_size=3).map(tuple),
)


def rest(task: Task, *, full: bool, output: str | None) -> dict[str, Any]:
    """Return the REST body with times as in proto JSON, which omits a fraction of zero."""
    body = msgspec.json.decode(
        msgspec.json.encode(task_json.task_json(task, full=full, output=output)),
        type=dict[str, Any],
    )
    for name in TIMES:
        if name in body:
            body[name] = body[name].replace(".000Z", "Z")
    return body


@pytest.mark.parametrize("full", [False, True])
@given(task=tasks, output=st.none() | texts)
def test_rest_and_grpc_show_the_same_task(full: bool, task: Task, output: str | None) -> None:
    message = task_messages.task_message(task, full=full, output=output)
    shown = MessageToDict(message, preserving_proto_field_name=True)
    assert shown == rest(task, full=full, output=output)


def strings(low: int = 1) -> st.SearchStrategy[list[str]]:
    return st.lists(texts, min_size=low, max_size=3)


requests = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("job_name", "args", "snapshot_id", "image", "experiment_id"), texts),
        **dict.fromkeys(
            ("priority", "cpu", "memory_gb", "gpu", "timeout_seconds", "max_retries"),
            st.integers(-(2**31), 2**31 - 1),
        ),
        "datasets": strings(),
        "command": strings(),
        "preemptible": st.booleans(),
        "metadata": st.dictionaries(texts, texts, min_size=1, max_size=3),
        "env": st.dictionaries(texts, texts, min_size=1, max_size=3),
        "dataset_specs": st.lists(
            st.fixed_dictionaries({}, optional={"name": texts, "source": texts, "sha256": texts}),
            min_size=1,
            max_size=3,
        ),
    },
)


@given(body=requests)
def test_rest_and_grpc_accept_the_same_request(body: dict[str, object]) -> None:
    message = ParseDict(body, task_pb2.CreateTaskRequest())
    message.idempotency_key = "k"
    message.view = task_pb2.FULL
    fields = task_messages.split_create(message)[0]
    assert fields == body
    assert msgspec.json.encode(fields, order="sorted") == msgspec.json.encode(body, order="sorted")


def test_every_request_field_is_converted() -> None:
    known = {field.name for field in task_pb2.CreateTaskRequest.DESCRIPTOR.fields}
    assert known - {"idempotency_key", "validate_only", "view"} == KNOWN_FIELDS


@pytest.mark.parametrize("kind", sorted(set(UpdateType) - {UpdateType.TASK_COMPLETE}))
def test_every_update_type_is_converted(kind: UpdateType) -> None:
    """Except the type that only `/ws` uses."""
    message = task_messages.update_message(Update(kind, 7, 1_500), full=False)
    assert MessageToDict(message) == {
        "type": kind.value,
        "seq": "7",
        "timestamp": "1970-01-01T00:00:01.500Z",
    }


def test_file_name_that_is_not_utf8_is_shown_as_in_rest() -> None:
    file = OutputFile("a\udcff.bin", 1, 0, "tag")
    shown = OUTPUT.message(file)
    assert shown.path == OUTPUT.json(file)["path"] == "a\ufffd.bin"
