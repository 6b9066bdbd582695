"""Fuzz targets: metadata and messages of gRPC calls, and the same requests in JSON."""

import asyncio
import time
from contextlib import suppress
from typing import Any

import msgspec
from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

from fetchml.api.grpc import resources
from fetchml.api.grpc.call import RpcContext, client_of
from fetchml.api.grpc.handler import _key_in
from fetchml.api.grpc.tasks import _changed_fields, _read_create, idempotency_key
from fetchml.api.task_messages import target_fields
from fetchml.api.trace import new_trace
from fetchml.auth.admission import Admission
from fetchml.auth.keyring import Keyring
from fetchml.config.proxies import Network, Proxies
from fetchml.core import idempotency, notifications
from fetchml.core.addresses import PUBLIC_ADDRESSES
from fetchml.core.model import Resources, Status
from fetchml.core.requests import submission, text, update
from fetchml.core.requests.submission import MAX_BATCH, TaskLimits, batch_size_fault
from fetchml.core.sweeps import definition
from fetchml.core.sweeps.search_space import MAX_TASKS
from fetchml.core.sweeps.tasks import Expansion
from fetchml.errors import RequestError
from fetchml.v1 import notification_pb2, sweep_pb2, task_pb2
from tests.fuzz.target import JSON, NOT_JSON, STEERING, SURROGATES, WIRE, Target
from tests.support.accepting import accept
from tests.support.memory_store import MemoryStore
from tests.support.tasks import task

DEFAULTS = submission.Defaults("image", ("run",), TaskLimits(), 0)
BOX = Resources(8, 64, 8)
MOST_EXPANDED = 50
"""Tasks of a sweep that are made; all others are like them."""


# Metadata

ADMISSION = Admission(
    Keyring(MemoryStore(), clock_ms=lambda: 0, new_id=str),
    time.monotonic,
    limiter=None,
    proxies=Proxies([Network.parse("127.0.0.0/8"), Network.parse("::/0")]),
)


def metadata(data: bytes) -> None:
    """Read entries, given as `name: value` lines. grpc decodes a value that is not UTF-8 as
    Latin-1, and passes on values of `-bin` as bytes."""
    pairs: list[tuple[str, str | bytes]] = []
    for line in data.split(b"\n"):
        name, _, value = line.partition(b": ")
        key = name.decode("latin-1")
        pairs.append((key, value if key.endswith("-bin") else _as_grpc(value)))
    entries = dict(pairs)
    assert len(new_trace(_text(entries, "traceparent"), _text(entries, "x-request-id"))) == 36
    client = client_of(ADMISSION, "ipv4:127.0.0.1:5", pairs)
    assert text.line_fault(client) is None
    assert len(client) <= text.MAX_ADDRESS
    with suppress(RequestError):
        ADMISSION.admit(_key_in(entries), client)
        raise AssertionError("admitted without a key")
    context = RpcContext(ADMISSION.local, entries)
    given = idempotency_key(task_pb2.CreateTaskRequest(), context)
    if given is not None and idempotency.key_fault(given) is None:
        assert text.is_valid(given)


def _as_grpc(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _text(entries: dict[str, str | bytes], name: str) -> str | None:
    found = entries.get(name)
    assert not isinstance(found, bytes)  # `-bin` is not in any name that is looked up.
    return found


# Messages


def batch_message(data: bytes) -> None:
    batch = task_pb2.CreateTasksRequest.FromString(data)
    if batch_size_fault(len(batch.tasks), 0):
        assert not 1 <= len(batch.tasks) <= MAX_BATCH
        return
    for each in batch.tasks:
        asked = _read_create(each)
        with suppress(submission.InvalidSubmission):
            spec = accept(asked.fields, DEFAULTS, BOX)
            assert text.storable(spec) is spec


def sweep_message(data: bytes) -> None:
    _expand(asyncio.run(resources._sweep_fields(sweep_pb2.CreateSweepRequest.FromString(data))))


def sweep_body(data: bytes) -> None:
    request = msgspec.json.decode(data)
    if type(request) is dict:
        _expand(request)


def _expand(request: dict[str, Any]) -> None:
    wanted = definition.read(request)
    if isinstance(wanted, list):
        assert wanted
        return
    assert 1 <= wanted.total <= MAX_TASKS
    assert all(text.is_valid(each) for each in wanted.described.values())
    expansion = Expansion(wanted, "sweep", wanted.random_seed or 0)
    if expansion.violations():
        return
    first = accept(expansion.first_request(), DEFAULTS, BOX)
    count = min(wanted.total, MOST_EXPANDED)
    drawn = wanted.drawn(wanted.random_seed or 0, range(count))
    for each in expansion.specs(first, drawn, count):
        assert text.storable(each.spec) is each.spec


def update_message(data: bytes) -> None:
    fields = _changed_fields(task_pb2.UpdateTaskRequest.FromString(data))
    changed = update.read(fields)
    assert text.is_valid(changed.summary)
    for status in (Status.QUEUED, Status.RUNNING, Status.COMPLETED):
        present = task(status=status, started_at=1, metadata={"a": "b"})
        with suppress(update.InvalidUpdate):
            outcome = update.apply(present, changed, now=5_000)
            assert (outcome.task is None) != (outcome.conflict is None)
            if outcome.task is not None:
                assert text.storable(outcome.task) is outcome.task


def update_body(data: bytes) -> None:
    request = msgspec.json.decode(data)
    if type(request) is dict:
        changed = update.read(request)
        assert text.storable(changed) is changed


def notify_message(data: bytes) -> None:
    request = notification_pb2.SetNotificationSettingsRequest.FromString(data)
    targets = [target_fields(each) for each in request.notify[:6]]
    _check_targets({"notify": targets})


def notify_body(data: bytes) -> None:
    request = msgspec.json.decode(data)
    if type(request) is dict:
        with suppress(notifications.InvalidNotification):
            assert notifications.read_url(request, PUBLIC_ADDRESSES)
        _check_targets(request)


def _check_targets(request: dict[str, Any]) -> None:
    for each in notifications.read_settings(request, PUBLIC_ADDRESSES):
        assert text.storable(each) is each
        assert text.line_fault(each.shown_url) is None


CREATE = task_pb2.CreateTaskRequest(
    job_name="a", command=["a", "{p}"], metadata={"a": "b"}, env={"A": "b"}, args="a 'b'"
)
WAITS = sweep_pb2.SweepParameter(values=[Value(string_value="a"), Value(number_value=1)])
SWEEPS = [
    sweep_pb2.CreateSweepRequest(
        name="a", task=CREATE, parameters={"p": WAITS}, max_parallel=1, mode=sweep_pb2.Sweep.zip
    ),
    sweep_pb2.CreateSweepRequest(
        task=CREATE,
        parameters={"p": sweep_pb2.SweepParameter(log_uniform=[1e-4, 1])},
        mode=sweep_pb2.Sweep.random,
        samples=5,
    ),
    sweep_pb2.CreateSweepRequest(
        task=CREATE, parameters={"p": sweep_pb2.SweepParameter(range=[1, 2, 0.25])}
    ),
]
NOTIFY = task_pb2.NotifyTarget(url="https://example.org/a?b=c", on=[task_pb2.NotifyTarget.started])
UPDATES = [
    task_pb2.UpdateTaskRequest(priority=5, hold=True, metadata={"a": "", "b": "c"}),
    task_pb2.UpdateTaskRequest(start_after=Timestamp(seconds=2_000_000_000), timeout_seconds=9),
    task_pb2.UpdateTaskRequest(notify=[NOTIFY], timeout_seconds=1 << 20),
]
UPDATES[0].update_mask.paths.extend(["priority", "metadata"])
UPDATES[1].update_mask.paths.extend(["start_after", "timeout_seconds"])
MASKS = [b"\x0a\x08priority", b"\x0a\x06notify", b"\x0a\x00", b"start_after", b"update_mask"]
INVALID = (RequestError, DecodeError, submission.InvalidSubmission, update.InvalidUpdate)

TARGETS: dict[str, Target] = {
    "metadata": Target(
        metadata,
        [
            b"x-api-key: a\nidempotency-key: k\nx-forwarded-for: 10.0.0.1",
            b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\na-bin: \xff",
        ],
        [
            *SURROGATES,
            *STEERING,
            b"\n",
            b": ",
            b"-bin",
            b"x-api-key",
            b"idempotency-key: ",
            b"x-forwarded-for: ",
            b"x-request-id: ",
            b"traceparent: ",
            b"9" * 300,
            b"::1",
            b"%",
        ],
        INVALID,
    ),
    "batch_message": Target(
        batch_message,
        [task_pb2.CreateTasksRequest(tasks=[CREATE] * 2).SerializeToString()],
        [*WIRE, CREATE.SerializeToString()],
        INVALID,
        message=task_pb2.CreateTasksRequest,
    ),
    "sweep_message": Target(
        sweep_message,
        [each.SerializeToString() for each in SWEEPS],
        [*WIRE, b"{p}", b"p"],
        INVALID,
        message=sweep_pb2.CreateSweepRequest,
    ),
    "sweep_body": Target(
        sweep_body,
        [
            b'{"task": {"job_name": "a", "args": "{p}"}, "parameters": {"p": {"values": [1, 2]}}}',
            (
                b'{"task": {"job_name": "a"}, "mode": "random", "samples": 3, "max_parallel": 1, '
                b'"parameters": {"p": {"log_uniform": [0.1, 1]}}}'
            ),
            b'{"task": {"job_name": "a"}, "parameters": {"p": {"range": [1, 2, 0.1]}}}',
        ],
        [*JSON, b'"values"', b'"range"', b'"uniform"', b'"zip"', b'"task"', b"1e308", b"5e-324"],
        (*INVALID, *NOT_JSON),
        is_json=True,
    ),
    "update_message": Target(
        update_message,
        [each.SerializeToString() for each in UPDATES],
        [*WIRE, *MASKS],
        INVALID,
        message=task_pb2.UpdateTaskRequest,
    ),
    "update_body": Target(
        update_body,
        [
            b'{"priority": 1, "hold": true, "metadata": {"a": null}, "timeout_seconds": 5}',
            b'{"start_after": "2033-01-01T00:00:00Z", "notify": [{"url": "https://a.org"}]}',
        ],
        [*JSON, b"9999-12-31T23:59:60.9+23:59", b'"start_after"', b'"notify"', b'"metadata"'],
        (*INVALID, *NOT_JSON),
        is_json=True,
    ),
    "notify_message": Target(
        notify_message,
        [notification_pb2.SetNotificationSettingsRequest(notify=[NOTIFY]).SerializeToString()],
        [*WIRE, b"[::1]", b"@", b":0", b"#", b"xn--"],
        (*INVALID, notifications.InvalidNotification),
        message=notification_pb2.SetNotificationSettingsRequest,
    ),
    "notify_body": Target(
        notify_body,
        [
            b'{"notify": [{"url": "https://a.org/b", "on": ["failed", "idle"]}]}',
            b'{"url": "http://[2001:db8::1]:80/x"}',
        ],
        [*JSON, b"[::1%25a]", b"@", b":99999", b"#", b"http://", b"\xc5\xbf", b"0x7f.1"],
        (*NOT_JSON, notifications.InvalidNotification),
        is_json=True,
    ),
}
