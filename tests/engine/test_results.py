"""Results of experiments and files of snapshots, against a real engine and store."""

from contextlib import closing

import pytest

from fetchml.core.snapshots import EntryKind
from fetchml.errors import BadRequest, NotFound
from fetchml.snapshots import snapshot_service
from tests.snapshots.box import upload
from tests.support.archives import file, link
from tests.support.engine_box import ADMIN, ALICE, BOB, VIEWER, Box, ended

WRITE = "printf '%s' \"$1\" > $FETCHML_OUTPUTS/metrics.json"


def run_of(experiment_id: str, metrics: str, **fields: object) -> dict[str, object]:
    command = ["sh", "-c", WRITE, "sh", metrics]
    return {"job_name": "run", "command": command, "experiment_id": experiment_id, **fields}


async def test_results_have_parameters_and_metrics(box: Box) -> None:
    async with box.engine() as engine:
        made = await box.experiments.create(ALICE, {"name": "e"})
        labels = {"lr": "0.1"}
        one = await engine.submissions.create_task(
            ALICE, run_of(made.id, '{"loss": 0.5, "epochs": 3}', args="ignored", metadata=labels)
        )
        await ended(engine, one.id)
        two = await engine.submissions.create_task(BOB, run_of(made.id, "no JSON"))
        await ended(engine, two.id)
        outside = await engine.submissions.create_task(
            ALICE, {"job_name": "other", "command": ["true"]}
        )
        await ended(engine, outside.id)
        found = await engine.results.list(VIEWER, made.id)
        assert [(run.task.id, run.metrics) for run in found.results] == [
            (two.id, {}),
            (one.id, {"loss": 0.5, "epochs": 3}),
        ]
        assert found.total == 2
        assert found.results[1].task.spec.metadata == labels
        part = await engine.results.list(VIEWER, made.id, 1, 1)
        assert ([run.task.id for run in part.results], part.total) == ([one.id], 2)
        for limit, offset in ((-1, 0), (1001, 0), (1, -1)):
            with pytest.raises(BadRequest):
                await engine.results.list(VIEWER, made.id, limit, offset)
        with pytest.raises(NotFound):
            await engine.results.list(VIEWER, "none")


async def test_hostile_metrics_are_not_read(box: Box) -> None:
    async with box.engine() as engine:
        made = await box.experiments.create(ALICE, {"name": "e"})
        secret = box.data_dir.with_name("secret.json")
        secret.write_text('{"secret": 1}')
        scripts = (
            f"ln -s {secret} $FETCHML_OUTPUTS/metrics.json",
            "mkdir $FETCHML_OUTPUTS/metrics.json",
            "mkfifo $FETCHML_OUTPUTS/metrics.json",
            "head -c 70000 /dev/zero | tr '\\0' ' ' > $FETCHML_OUTPUTS/metrics.json",
        )
        for script in scripts:
            request = {
                "job_name": "a",
                "command": ["sh", "-c", script],
                "experiment_id": made.id,
            }
            await ended(engine, (await engine.submissions.create_task(ALICE, request)).id)
        found = await engine.results.list(ALICE, made.id)
        assert [run.metrics for run in found.results] == [{}] * len(scripts)


async def test_private_server_shows_only_own_runs(box: Box) -> None:
    async with box.engine(private=True) as engine:
        made = await box.experiments.create(ALICE, {"name": "e"})
        own = await engine.submissions.create_task(ALICE, run_of(made.id, '{"a": 1}'))
        theirs = await engine.submissions.create_task(ADMIN, run_of(made.id, '{"b": 2}'))
        for task in (own, theirs):
            await ended(engine, task.id)
        found = await engine.results.list(ALICE, made.id)
        assert ([run.task.id for run in found.results], found.total) == ([own.id], 1)
        assert (await engine.results.list(ADMIN, made.id)).total == 2
        with pytest.raises(NotFound):
            await engine.results.list(BOB, made.id)


async def test_files_of_a_snapshot(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    async with box.engine():
        made = await upload(
            box,
            file("run.sh", b"echo hi\n", mode=0o755),
            file("src/a", b"original"),
            link("src/b", "a"),
        )
        read = box.snapshots.reads
        found = await read.list(BOB, made.id)
        assert [(each.path, each.kind, each.size) for each in found.files] == [
            ("run.sh", EntryKind.EXECUTABLE, 8),
            ("src/a", EntryKind.FILE, 8),
            ("src/b", EntryKind.LINK, 0),
        ]
        assert (found.total, found.files[2].content) == (3, "a")
        part = await read.list(BOB, made.id, 1, 1)
        assert ([each.path for each in part.files], part.total) == (["src/a"], 3)
        with closing(await read.open(BOB, made.id, "src/a")) as opened:
            assert await opened.read(100) == b"original"
        for path in ("src", "src/b", "src/", "/src/a", "../manifest", "src/../run.sh", "", "a\0b"):
            with pytest.raises(NotFound, match="not found in the snapshot"):
                await read.open(BOB, made.id, path)
        for limit, offset in ((-1, 0), (10_001, 0), (1, -1)):
            with pytest.raises(BadRequest):
                await read.list(BOB, made.id, limit, offset)
        monkeypatch.setattr(snapshot_service, "PART_BYTES", 300)
        assert [each.path for each in (await read.list(BOB, made.id)).files] == ["run.sh"]
        monkeypatch.undo()
        (box.data_dir / "snapshots" / made.id / "tree/src/a").unlink()
        with pytest.raises(NotFound):
            await read.open(BOB, made.id, "src/a")
        await box.snapshots.delete(ALICE, made.id)
        with pytest.raises(NotFound):
            await read.list(BOB, made.id)


async def test_private_server_hides_files_of_others_snapshots(box: Box) -> None:
    async with box.engine(private=True):
        made = await upload(box, file("a", b"secret"))
        read = box.snapshots.reads
        assert (await read.list(ALICE, made.id)).total == 1
        assert (await read.list(ADMIN, made.id)).total == 1
        for who in (BOB, VIEWER):
            with pytest.raises(NotFound, match="Snapshot"):
                await read.list(who, made.id)
            with pytest.raises(NotFound, match="Snapshot"):
                await read.open(who, made.id, "a")
