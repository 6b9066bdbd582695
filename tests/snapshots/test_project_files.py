"""fetchml.toml of snapshots: parsed once, and not where everybody waits."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from statistics import median

import pytest
from msgspec.structs import replace

from fetchml.core.requests import submission
from fetchml.core.requests.snapshot import MAX_PROJECT_FILE_BYTES, ParsedFile, Snapshot
from fetchml.engine.engine import Engine
from fetchml.errors import ValidationFailed
from fetchml.snapshots import service
from tests.snapshots.box import upload
from tests.support.archives import file
from tests.support.engine_box import ALICE, BOB, Box

SNAPSHOTS = 66
ROUNDS = 40
MOST = 15
"""Times that a submit may take beside the attack what it takes without. It was over 1,000."""


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the threads in which files are parsed."""
    names: list[str] = []
    parse = submission.read_project

    def note(text: str, release: str) -> ParsedFile:
        names.append(threading.current_thread().name)
        return parse(text, release)

    monkeypatch.setattr(submission, "read_project", note)
    return names


def slow_file(number: int) -> bytes:
    """The file of the allowed size that takes its parser longest."""
    lines = (f"a{number}x{line}." + "a." * 98 + "a=1\n" for line in range(100))
    text = "".join(lines)
    return text[: text.rindex("\n", 0, MAX_PROJECT_FILE_BYTES) + 1].encode()


async def in_turn(engine: Engine) -> float:
    """Return the seconds until a user who has to wait for a turn has submitted."""
    begun = time.perf_counter()
    await asyncio.sleep(0)
    await engine.submissions.validate_task(BOB, {"job_name": "a"}, with_estimate=False)
    return time.perf_counter() - begun


@asynccontextmanager
async def attack(engine: Engine, found: list[Snapshot]) -> AsyncIterator[None]:
    """While inside, another user submits tasks of the snapshots, one after the other."""

    async def submit() -> None:
        while True:
            for snapshot in found:
                with suppress(ValidationFailed):
                    request = {"job_name": "a", "snapshot_id": snapshot.id}
                    await engine.submissions.validate_task(ALICE, request, with_estimate=False)
                await asyncio.sleep(0)

    attacking = asyncio.create_task(submit())
    try:
        yield
    finally:
        attacking.cancel()
        with suppress(asyncio.CancelledError):
            await attacking


@pytest.mark.slow
async def test_submits_do_not_wait_for_the_parser(box: Box, parsed: list[str]) -> None:
    async with box.engine() as engine:
        found = [await upload(box, file("fetchml.toml", slow_file(n))) for n in range(SNAPSHOTS)]
        assert len(parsed) == SNAPSHOTS
        alone = median([await in_turn(engine) for _ in range(ROUNDS)])
        async with attack(engine, found):
            beside = median([await in_turn(engine) for _ in range(ROUNDS)])
        ratio = beside / alone
        print(f"a submit beside the attack: {beside * 1e3:.2f} ms, {ratio:.1f} times that without")
        assert ratio < MOST
        assert len(parsed) == SNAPSHOTS
        assert all(name.startswith("snapshot-unpack") for name in parsed)


async def test_file_of_an_older_release_is_parsed_once(box: Box, parsed: list[str]) -> None:
    text = 'command = ["sh", "run.sh"]\n' + "#" * (63 << 10)
    async with box.engine() as engine:
        found = await upload(box, file("fetchml.toml", b"cpu = 1\n"))
        await box.snapshots.records.put(replace(found, project_file=text, parsed=None))
        parsed.clear()
        request = {"job_name": "a", "snapshot_id": found.id}
        both = await asyncio.gather(
            *(
                engine.submissions.validate_task(ALICE, request, with_estimate=False)
                for _ in range(2)
            )
        )
        assert [task.spec.command for task, _ in both] == [("sh", "run.sh")] * 2
        assert len(parsed) == 1
        assert parsed[0].startswith("project-file")
        await box.snapshots.records.save()
    async with box.engine() as engine:
        task, _ = await engine.submissions.validate_task(ALICE, request, with_estimate=False)
        assert task.spec.command == ("sh", "run.sh")
        assert len(parsed) == 1, "it is stored"


async def test_another_release_parses_again(
    box: Box, parsed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have other settings."""
    async with box.engine() as engine:
        found = await upload(box, file("fetchml.toml", b"cpu = 1\n"))
        monkeypatch.setattr(service, "__version__", "99")
        for _ in range(2):
            request = {"job_name": "a", "snapshot_id": found.id}
            await engine.submissions.validate_task(ALICE, request, with_estimate=False)
        assert len(parsed) == 2


async def test_file_over_the_limit_is_refused_at_upload(box: Box) -> None:
    async with box.engine():
        await upload(box, file("fetchml.toml", b"#" * MAX_PROJECT_FILE_BYTES))
        with pytest.raises(ValidationFailed, match="over 8192 bytes"):
            await upload(box, file("fetchml.toml", b"#" * (MAX_PROJECT_FILE_BYTES + 1)))
