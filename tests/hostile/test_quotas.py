"""Memory that the tasks of one user take is bounded."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fetchml.config.settings import Settings
from fetchml.core import submit_quotas
from fetchml.core.footprint import spec_footprint
from fetchml.core.model import Change, Status, TaskSpec
from fetchml.engine.feed import KEPT_BYTES, Feed
from tests.hostile.attacked import MIB, Attacked
from tests.support.tasks import task

WIDE = "x" * 32_000 + "\U0001f600"
"""32 KB as JSON, 128 KB in memory: one character makes all of them wide."""
LARGE = {"command": [WIDE] * 7}
"""224 KB as JSON, nearly 1 MB in memory."""
QUOTA_MIB = 32


@pytest.fixture
def attacked(tmp_path: Path) -> Iterator[Attacked]:
    """One task runs at a time, and the first never ends by itself."""
    attacked = Attacked(
        tmp_path / "data",
        FETCHML_QUOTAS_USER_QUEUED_MB=str(QUOTA_MIB),
        FETCHML_TASKS_MAX_RUNNING="1",
        FETCHML_SCHEDULING_AHEAD="false",
    )
    blocker = attacked.submit(attacked.admin, command=["sleep", "3600"])
    yield attacked
    attacked.ask(attacked.admin, "DELETE", f"/v1/tasks/{blocker.body['id']}")
    attacked.close()


def test_queued_tasks_of_one_user_stay_within_memory_quota(attacked: Attacked) -> None:
    before = attacked.memory()
    replies = [attacked.submit(attacked.mallory, **LARGE) for _ in range(150)]
    accepted = [reply for reply in replies if reply.status == 201]
    assert 0.8 * QUOTA_MIB <= len(accepted) <= 1.2 * QUOTA_MIB
    refused = [reply.body for reply in replies if reply.status != 201]
    assert {body["code"] for body in refused} == {"RATE_LIMITED"}
    assert "submit when some have ended" in refused[0]["error"]
    assert attacked.memory() - before < (QUOTA_MIB + 64) * MIB
    assert attacked.submit(attacked.bob).status == 201, "another user is refused"
    gone = attacked.ask(attacked.mallory, "DELETE", f"/v1/tasks/{accepted[0].body['id']}")
    assert gone.status == 204
    assert attacked.submit(attacked.mallory, **LARGE).status == 201


def test_default_quotas_allow_several_users() -> None:
    most = Settings().quotas.user_queued_mb * MIB
    assert 0 < 4 * most < submit_quotas.MAX_LIVE_BYTES
    small = TaskSpec("job-17", "python:3.12-slim", ("python", "train.py"), args="--lr 0.1")
    assert spec_footprint(small) * 100_000 < most, "a user may have so many small ones"
    assert Settings().quotas.user_queued == 100_000


def test_recent_changes_are_bounded_in_bytes() -> None:
    feed = Feed(0)
    ended = task(command=(WIDE,) * 7, status=Status.COMPLETED, ended_at=2)
    for seq in range(1, 1001):
        feed.committed([Change(seq, 1, ended)])
    kept = next(seq for seq in range(1000) if feed.after(seq, 1) is not None)
    assert (1000 - kept) * spec_footprint(ended.spec) <= KEPT_BYTES
    assert feed.after(999, 10) == [Change(1000, 1, ended)]
