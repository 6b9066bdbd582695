"""Tasks are stored as JSON: what older releases wrote must open, under the names that it has."""

import msgspec
import pytest

from fetchml.core.model import (
    Actor,
    Attempt,
    Cancel,
    Requeue,
    Server,
    Status,
    Task,
    TaskSpec,
    User,
)

STORED = (
    b'{"id":"t","user":"ada","spec":{"job_name":"j","image":"i","command":["c"]},"created_at":1,'
    b'"status":"preparing","attempt":1,"cancel":{"by":"bob","at":3},"ahead":true,"given_at":2}'
)
TASK = Task(
    "t",
    "ada",
    TaskSpec("j", "i", ("c",)),
    1,
    Status.PREPARING,
    attempt=1,
    cancel=Cancel("bob", 3),
    prestaged=True,
    allocated_at=2,
)


def test_stored_task_keeps_its_field_names() -> None:
    assert msgspec.json.encode(TASK) == STORED


def test_task_without_earlier_attempts_takes_no_bytes_for_them() -> None:
    assert b"earlier" not in msgspec.json.encode(TASK)


def test_stored_attempt_keeps_its_field_names() -> None:
    attempt = Attempt(1, Requeue.HOST_FAULT, 9, error="lost")
    stored = b'{"number":1,"cause":"host_fault","exited_at":9,"error":"lost"}'
    assert msgspec.json.encode(attempt) == stored
    assert msgspec.json.decode(stored, type=Attempt) == attempt


def test_stored_task_opens() -> None:
    assert msgspec.json.decode(STORED, type=Task) == TASK


@pytest.mark.parametrize(
    ("actor", "stored"), [(User("ada"), "ada"), (Server("idle for 4 h"), "idle for 4 h")]
)
def test_cancelling_actor_is_stored_as_text(actor: Actor, stored: str) -> None:
    cancel = Cancel.of(actor, 5)
    assert cancel == Cancel(stored, 5)
    assert cancel.actor == actor
