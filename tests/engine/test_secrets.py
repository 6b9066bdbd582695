"""Secrets of users, over a real store and real processes."""

import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fetchml.core.audit import Action
from fetchml.core.model import FailureReason, Principal, Status, Task
from fetchml.core.requests import secrets as rules
from fetchml.engine.engine import Engine
from fetchml.errors import Forbidden, NotFound, Unavailable, ValidationFailed
from fetchml.ports.store import TaskQuery
from tests.support.engine_box import ADMIN, ALICE, BOB, VIEWER, Box, ended

VALUE = "s3cret-of-alice"


def job(script: str, *uses: dict[str, str], **fields: object) -> dict[str, object]:
    command = ["sh", "-c", script]
    return {"job_name": "a", "command": command, "secrets": list(uses), **fields}


def use(name: str, form: str = "env") -> dict[str, str]:
    return {"name": name, "as": form}


async def put(box: Box, name: str, value: str = VALUE, who: Principal = ALICE) -> None:
    await box.parts.secrets.set(who, name, {"value": value})


@pytest.fixture
async def engine(box: Box) -> AsyncIterator[Engine]:
    async with box.engine() as engine:
        yield engine


async def failure(engine: Engine, task_id: str) -> Task:
    task = await ended(engine, task_id)
    assert (task.status, task.failure_reason) == (Status.FAILED, FailureReason.PREPARE_FAILED)
    return task


def files_with(folder: Path, text: bytes) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and text in path.read_bytes()]


async def test_task_gets_its_secrets_and_prints_none(box: Box, engine: Engine) -> None:
    await put(box, "TOKEN")
    await put(box, "KEY", "a file of\ntwo lines\n")
    script = (
        'test ${#TOKEN} = 15 && echo "[$TOKEN]"; cd "$FETCHML_SECRETS"; stat -c "%n %a %U" *; '
        'cat KEY; wc -l <KEY; env | grep -c TOKEN; echo "$KEY."'
    )
    task = await engine.submissions.create_task(
        ALICE, job(script, use("TOKEN"), use("KEY", "file"))
    )
    done = await ended(engine, task.id)
    assert await engine.logs.tail(done) == (f"[***]\nKEY 400 {Path.home().owner()}\n***\n2\n1\n.\n")
    # Nowhere on the disk, and nothing is left of the files.
    assert files_with(box.data_dir, VALUE.encode()) == []
    assert files_with(box.data_dir, b"two lines") == []
    assert not (box.data_dir / "tasks" / task.id / "attempts/1/secrets").exists()
    assert stat.S_IMODE((box.data_dir / "secrets.key").stat().st_mode) == 0o600


async def test_tasks_of_a_sweep(box: Box, engine: Engine) -> None:
    await put(box, "TOKEN")
    sweep = {"task": job("echo $TOKEN", use("TOKEN")), "parameters": {"n": {"range": [1, 2]}}}
    made = await engine.sweeps.create(ALICE, sweep)
    page = await engine.tasks.list(ALICE, TaskQuery(sweep_id=made.sweep.id))
    outputs = [await engine.logs.tail(await ended(engine, each.id)) for each in page.tasks]
    assert outputs == ["***\n", "***\n"]
    with pytest.raises(ValidationFailed, match="secret TOKEN not found"):
        await engine.sweeps.create(BOB, sweep)


async def test_each_attempt_gets_the_newest_value(box: Box, engine: Engine) -> None:
    await put(box, "TOKEN", "short 1")
    first = await engine.submissions.create_task(ALICE, job('echo "$TOKEN"; exit 1', use("TOKEN")))
    failed = await ended(engine, first.id)
    assert await engine.logs.tail(failed) == "short 1\n"
    await put(box, "TOKEN", "short 2")
    again = await engine.changes.retry(ADMIN, first.id)
    assert again.user == "alice"  # An admin's own secrets are not given to the code of others.
    assert await engine.logs.tail(await ended(engine, again.id)) == "short 2\n"


async def test_missing_secret_is_refused(box: Box, engine: Engine) -> None:
    await put(box, "TOKEN")
    for who, name in ((BOB, "TOKEN"), (ADMIN, "TOKEN"), (ALICE, "OTHER")):
        with pytest.raises(ValidationFailed) as refused:
            await engine.submissions.create_task(who, job("true", use(name)))
        [violation] = refused.value.violations
        assert violation == (
            "secrets",
            f"secret {name} not found: set it first (fetchml secret set)",
        )
        with pytest.raises(ValidationFailed):
            await engine.submissions.validate_task(who, job("true", use(name)), with_estimate=False)


async def test_removed_secret_fails_the_attempt(box: Box, engine: Engine) -> None:
    await put(box, "TOKEN")
    waits = await engine.submissions.create_task(ALICE, job("true", use("TOKEN"), hold=True))
    await box.parts.secrets.delete(ALICE, "TOKEN")
    await engine.changes.update(ALICE, waits.id, {"hold": False})
    failed = await failure(engine, waits.id)
    assert failed.error == (
        "its secret TOKEN was removed: set it again (fetchml secret set), and submit the task again"
    )


async def test_secrets_survive_a_restart_but_not_their_key(box: Box) -> None:
    async with box.engine():
        await put(box, "TOKEN", "short 1")
    key = box.data_dir / "secrets.key"
    content = key.read_bytes()
    async with box.engine() as engine:
        task = await engine.submissions.create_task(ALICE, job('echo "$TOKEN"', use("TOKEN")))
        assert await engine.logs.tail(await ended(engine, task.id)) == "short 1\n"
    key.unlink()
    async with box.engine() as engine:
        task = await engine.submissions.create_task(ALICE, job("true", use("TOKEN")))
        failed = await failure(engine, task.id)
        assert "secret TOKEN can't be decrypted" in f"{failed.error}"
        assert not key.exists()
        await put(box, "OTHER")
        assert key.read_bytes() != content
        task = await engine.submissions.create_task(ALICE, job("true", use("TOKEN")))
        assert "can't be decrypted" in f"{(await failure(engine, task.id)).error}"
        await put(box, "TOKEN", "short 2")
        task = await engine.submissions.create_task(ALICE, job('echo "$TOKEN"', use("TOKEN")))
        assert await engine.logs.tail(await ended(engine, task.id)) == "short 2\n"
    key.write_bytes(b"damaged")
    async with box.engine() as engine:
        with pytest.raises(Unavailable, match=r"cannot read secrets\.key"):
            await put(box, "TOKEN")
        assert key.read_bytes() == b"damaged"
        task = await engine.submissions.create_task(ALICE, job("true", use("TOKEN")))
        assert "damaged" in f"{(await failure(engine, task.id)).error}"


async def test_access(box: Box, engine: Engine) -> None:
    secrets = box.parts.secrets
    await put(box, "TOKEN")
    await put(box, "ALSO", who=BOB)
    assert [each.name for each in secrets.list(ALICE)] == ["TOKEN"]
    assert [each.name for each in secrets.list(ADMIN)] == []
    assert [each.name for each in secrets.list(ADMIN, "alice")] == ["TOKEN"]
    with pytest.raises(Forbidden):
        await put(box, "A", who=VIEWER)
    for who, name, of in ((VIEWER, "A", None), (BOB, "TOKEN", "alice"), (BOB, "A", "alice")):
        with pytest.raises(Forbidden):
            await secrets.delete(who, name, of)
    for who, user in ((VIEWER, None), (BOB, "alice"), (BOB, "nobody")):
        with pytest.raises(Forbidden):
            secrets.list(who, user)
    with pytest.raises(NotFound):
        await secrets.delete(BOB, "TOKEN")
    await secrets.delete(ADMIN, "TOKEN", "alice")
    assert secrets.list(ALICE) == []
    found = await box.parts.audit.entries(ADMIN, limit=3)
    assert [(each.user, each.action, each.target, each.detail) for each in found] == [
        ("root", Action.SECRET_DELETE, "TOKEN", "of alice"),
        ("bob", Action.SECRET_SET, "ALSO", None),
        ("alice", Action.SECRET_SET, "TOKEN", None),
    ]


async def test_hostile_names(box: Box, engine: Engine) -> None:
    for name in ("", "1A", "A B", "A\n", "A\0", "../A", "a" * 65, "FETCHML_A", "é"):
        with pytest.raises(ValidationFailed) as refused:
            await put(box, name)
        assert [each.field for each in refused.value.violations] == ["name"]
        with pytest.raises(NotFound):
            await box.parts.secrets.delete(ALICE, name)
        with pytest.raises(ValidationFailed):
            await engine.submissions.create_task(ALICE, job("true", use(name)))


async def test_hostile_values(box: Box, engine: Engine) -> None:
    for value in (
        "",
        "a\0b",
        "\ud800",
        "x" * 65_537,
        "é" * 32_769,
        "x" * (1 << 20),
        7,
        None,
        ["x"],
    ):
        with pytest.raises(ValidationFailed) as refused:
            await box.parts.secrets.set(ALICE, "A", {"value": value})
        assert len(str(refused.value)) < 100  # It does not repeat the value.
    assert box.parts.secrets.list(ALICE) == []
    with pytest.raises(ValidationFailed, match="value: is required"):
        await box.parts.secrets.set(ALICE, "A", {})


async def test_limits(box: Box, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(8):
        await put(box, f"V{number}", "x" * 65_536)
    with pytest.raises(Unavailable, match="Limit of 512 KiB"):
        await put(box, "ONE_MORE", "y")
    await put(box, "V0", "y" * 65_536)  # In the place of the old value.
    await put(box, "V0", "y")
    monkeypatch.setattr(rules, "MAX_OF_ONE_USER", 9)
    await put(box, "V8")
    with pytest.raises(Unavailable, match=r"Per-user secret limit \(9\)"):
        await put(box, "V9")
    monkeypatch.setattr(rules, "MAX_BYTES", 450_000)
    with pytest.raises(Unavailable, match="Server limit of"):
        await put(box, "A", who=BOB)
    script = "env | tr -d '\\n' | wc -c >&2; test ${#V1} = 65536"
    task = await engine.submissions.create_task(
        ALICE, job(script, *(use(f"V{n}") for n in range(9)))
    )
    assert (await ended(engine, task.id)).status is Status.COMPLETED


@pytest.mark.slow
async def test_killed_shim_leaves_no_secret(box: Box, engine: Engine) -> None:
    await put(box, "KEY")
    script = 'ls "$FETCHML_SECRETS"; test $FETCHML_ATTEMPT != 1 || kill -9 $PPID; true'
    task = await engine.submissions.create_task(ALICE, job(script, use("KEY", "file")))
    done = await ended(engine, task.id)
    assert (done.status, done.attempt) == (Status.COMPLETED, 2)
    assert await engine.logs.tail(done) == "KEY\n"
    assert files_with(box.data_dir, VALUE.encode()) == []
