"""Tasks are stored as JSON: what older releases wrote must open, under the names that it has."""

import msgspec

from fetchml.core.model import Cancel, Status, Task, TaskSpec

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


def test_stored_task_opens() -> None:
    assert msgspec.json.decode(STORED, type=Task) == TASK
