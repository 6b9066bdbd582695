"""fetchml.toml of snapshots: parsed once, and not where everybody waits."""

import asyncio
import threading

import pytest
from msgspec.structs import replace

from fetchml.core.requests import submission
from fetchml.core.snapshots import MAX_PROJECT_FILE_BYTES, ParsedFile
from fetchml.errors import ValidationFailed
from fetchml.snapshots import snapshot_service
from tests.snapshots.box import upload
from tests.support.archives import file
from tests.support.engine_box import ALICE, Box


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
        assert [name.startswith("snapshot-unpack") for name in parsed] == [True]
        monkeypatch.setattr(snapshot_service, "__version__", "99")
        for _ in range(2):
            request = {"job_name": "a", "snapshot_id": found.id}
            await engine.submissions.validate_task(ALICE, request, with_estimate=False)
        assert len(parsed) == 2


async def test_file_over_the_limit_is_refused_at_upload(box: Box) -> None:
    async with box.engine():
        await upload(box, file("fetchml.toml", b"#" * MAX_PROJECT_FILE_BYTES))
        with pytest.raises(ValidationFailed, match="over 8192 bytes"):
            await upload(box, file("fetchml.toml", b"#" * (MAX_PROJECT_FILE_BYTES + 1)))
