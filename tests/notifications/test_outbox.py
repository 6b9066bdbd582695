"""The outbox and what users see of it, over an engine whose store is memory."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace

from fetchml.core.audit import Action
from fetchml.core.model import Principal, Role, Status
from fetchml.core.notification_outbox import DAY_MS, SERVER, Delivery
from fetchml.errors import Conflict, Forbidden, NotFound, RateLimited, ValidationFailed
from fetchml.notifications import notification_service
from fetchml.notifications.notification_service import Notifications
from fetchml.notifications.outbox import DEAD_KEPT_MS, KIND, Outbox, OutboxLimits
from fetchml.ports.notifier import Message, NotDelivered
from tests.support.memory_engine import MemoryEngine, memory_engine
from tests.support.memory_store import MemoryStore
from tests.support.waiting import until_true

ADA = Principal("ada", Role.USER, "key-a")
BOB = Principal("bob", Role.USER, "key-b")
EVE = Principal("eve", Role.VIEWER, "key-e")
ADMIN = Principal("root", Role.ADMIN, "key-r")
HOOK = "https://hooks.example/a"


class Notifier:
    """Takes messages, or does not."""

    def __init__(self) -> None:
        self.error: NotDelivered | None = None
        self.sent: list[Message] = []

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        if self.error is not None:
            raise self.error

    async def close(self) -> None: ...


@pytest.fixture
async def world() -> AsyncIterator[tuple[MemoryEngine, Notifier]]:
    notifier = Notifier()
    async with memory_engine(notifier) as engine, engine.parts.sender.sending():
        yield engine, notifier


async def failed_task(world: MemoryEngine, who: Principal = ADA, **fields: Any) -> str:
    """The id of a task that failed, because it was cancelled."""
    request = {"job_name": "a", "notify": [{"url": HOOK}], **fields}
    task = await world.engine.submissions.create_task(
        who, {k: v for k, v in request.items() if v is not None}
    )
    await world.engine.changes.cancel(who, task.id)
    # This store reports a change while it is being written: effects follow with the next one.
    await world.engine.submissions.create_task(BOB, {"job_name": "next"})
    return task.id


def audited(world: MemoryEngine) -> list[tuple[str, str | None, str | None, str | None]]:
    """Action, user, target and detail of what notifications have had recorded."""
    return [
        (str(entry.action), entry.user, entry.target, entry.detail)
        for entry in world.store.audit
        if entry.action.startswith("notification.")
    ]


def row(number: int, user: str = "ada", **fields: Any) -> Delivery:
    return Delivery(f"m{number:04}", user, "task.failed", HOOK, 1, 1 + DAY_MS, 1, **fields)


async def test_row_is_in_the_commit_of_the_end_and_goes_when_it_is_delivered(
    world: tuple[MemoryEngine, Notifier],
) -> None:
    engine, notifier = world
    append, commits = engine.store.append, list[tuple[list[str], list[bool]]]()

    def watched(changes: Any, **more: Any) -> Any:
        rows = [each for each in more.get("documents", ()) if each.kind == KIND]
        commits.append(
            ([str(each.task.status) for each in changes], [each.data is not None for each in rows])
        )
        return append(changes, **more)

    engine.store.append = watched  # type: ignore[method-assign]
    task_id = await failed_task(engine)
    await until_true(lambda: len(commits) >= 4)
    assert commits == [(["queued"], []), (["failed"], [True]), (["queued"], []), ([], [False])]
    [message] = notifier.sent
    assert message.url == HOOK
    assert message.signatures.startswith("v1,")
    assert task_id in message.body.decode()
    assert not [key for key in engine.store.documents if key[0] == KIND]


async def test_task_without_addresses_makes_no_document(
    world: tuple[MemoryEngine, Notifier],
) -> None:
    engine, notifier = world
    await failed_task(engine, notify=None)
    await asyncio.sleep(0)
    assert notifier.sent == []
    assert not [key for key in engine.store.documents if key[0] == KIND]


async def test_dead_letters_are_their_owners_alone(world: tuple[MemoryEngine, Notifier]) -> None:
    engine, notifier = world
    messages = engine.engine.notifications
    notifier.error = NotDelivered("hooks.example answered 410", permanent=True)
    task_id = await failed_task(engine)
    await until_true(lambda: messages.page(ADA).dead)
    [dead] = messages.page(ADA, state="dead").notifications
    assert (dead.task_id, dead.error, dead.attempts) == (task_id, "hooks.example answered 410", 1)
    for other in (BOB, EVE, ADMIN):
        assert messages.page(other) == ([], 0, 0, 0, 0)
    for other in (BOB, ADMIN):
        with pytest.raises(NotFound):
            await messages.retry(other, dead.id)
    with pytest.raises(Forbidden):
        await messages.retry(EVE, dead.id)
    notifier.error = None
    await messages.retry(ADA, dead.id)
    await until_true(lambda: len(notifier.sent) == 2)
    await until_true(lambda: messages.page(ADA).total == 0)
    assert notifier.sent[0].id == notifier.sent[1].id
    assert engine.store.audit[-1].action is Action.NOTIFICATION_RETRY


async def test_own_default_is_for_tasks_that_name_none(
    world: tuple[MemoryEngine, Notifier],
) -> None:
    engine, notifier = world
    messages = engine.engine.notifications
    mine = {"notify": [{"url": "https://mine.example/", "on": ["failed"]}]}
    await messages.set_settings(ADA, mine)
    await failed_task(engine, notify=None)
    await failed_task(engine)
    await failed_task(engine, BOB, notify=None)
    await until_true(lambda: len(notifier.sent) == 2)
    assert [each.url for each in notifier.sent] == ["https://mine.example/", HOOK]
    await messages.set_settings(ADA, {"notify": []})
    assert messages.settings(ADA).notify == ()
    assert audited(engine) == [
        ("notification.settings", "ada", "ada", "1 address"),
        ("notification.settings", "ada", "ada", "0 addresses"),
    ]
    for wrong in ({}, {"notify": [{"url": "http://10.0.0.1/"}]}, {"notify": [{"url": "a"}]}):
        with pytest.raises(ValidationFailed, match="notify"):
            await messages.set_settings(ADA, wrong)
    with pytest.raises(Forbidden):
        await messages.set_settings(EVE, mine)


async def test_secrets_differ_and_are_replaced(world: tuple[MemoryEngine, Notifier]) -> None:
    engine, notifier = world
    messages = engine.engine.notifications
    first = messages.secret(ADA, HOOK)
    assert first == messages.secret(ADA, "https://HOOKS.example/other?x=1")
    assert first.host == "hooks.example"
    assert len({first.secret, messages.secret(BOB, HOOK).secret}) == 2
    assert messages.secret(ADA, "https://other.example/").secret != first.secret
    await messages.replace_secrets(ADA)
    assert messages.secret(ADA, HOOK).secret != first.secret
    assert audited(engine) == [("notification.secrets", "ada", "ada", None)]
    await failed_task(engine)
    await until_true(lambda: notifier.sent)
    assert len(notifier.sent[0].signatures.split(" ")) == 2
    for who, url, error in ((EVE, HOOK, Forbidden), (ADA, "ftp://a.example", ValidationFailed)):
        with pytest.raises(error):
            messages.secret(who, url)


async def test_tests_are_few(world: tuple[MemoryEngine, Notifier]) -> None:
    engine, notifier = world
    messages = engine.engine.notifications
    notifier.error = NotDelivered("cannot reach hooks.example: no route")
    result = await messages.test(ADA, {"url": HOOK})
    assert (result.delivered, result.error) == (False, str(notifier.error))
    failed = ("notification.test", "ada", "hooks.example", str(notifier.error))
    assert audited(engine) == [failed]
    for _ in range(notification_service.TESTS_BURST - 1):
        await messages.test(ADA, {"url": HOOK})
    with pytest.raises(RateLimited):
        await messages.test(ADA, {"url": HOOK})
    notifier.error = None
    await messages.test(BOB, {"url": HOOK})
    assert audited(engine)[-1] == ("notification.test", "bob", "hooks.example", "delivered")
    assert [each[1] for each in audited(engine)] == ["ada"] * notification_service.TESTS_BURST + [
        "bob"
    ]
    assert messages.page(ADA).total == 0


async def test_full_outbox_drops_the_oldest_and_dead_letters_first() -> None:
    dropped = list[str]()
    outbox = Outbox(MemoryStore(), OutboxLimits(of_a_user=3, in_all=5))
    outbox.on_drop = dropped.append
    for number in range(3):
        outbox.add([row(number)])
    outbox.change(replace(row(1), dead_at=5))
    documents = outbox.add([row(3), row(4)])
    assert dropped == ["m0001", "m0000"]
    assert [(each.id, each.data is None) for each in documents] == [
        ("m0001", True),
        ("m0003", False),
        ("m0000", True),
        ("m0004", False),
    ]
    for number in range(5, 9):
        outbox.add([row(number, f"user{number}")])
    assert dropped[2:] == ["m0002", "m0003"], "of the user with the most rows"
    assert len(outbox) == 5
    assert (outbox.dropped, outbox.dropped_in_all) == ({"ada": 4}, 4)
    assert [each.id for each in outbox.of("ada")] == ["m0004"]


async def test_dead_letters_are_kept_for_a_time() -> None:
    outbox = Outbox(MemoryStore(), OutboxLimits())
    outbox.add([row(1), replace(row(2), dead_at=5)])
    assert outbox.old_dead(5 + DEAD_KEPT_MS) == []
    assert outbox.old_dead(6 + DEAD_KEPT_MS) == ["m0002"]


async def test_many_ends_at_once_are_bounded(world: tuple[MemoryEngine, Notifier]) -> None:
    engine, notifier = world
    notifier.error = NotDelivered("no")
    engine.engine.notifications.outbox.limits = OutboxLimits(of_a_user=10)
    request = {"job_name": "a", "notify": [{"url": HOOK}]}
    tasks = await engine.engine.submissions.create_tasks(ADA, [request] * 50)
    for task in tasks:
        await engine.engine.changes.cancel(ADA, task.id)
    page = engine.engine.notifications.page(ADA)
    assert (page.total, page.dropped) == (10, 40)
    assert engine.store.tasks[tasks[0].id].status is Status.FAILED


def test_admins_see_what_goes_to_the_servers_addresses() -> None:
    outbox = Outbox(MemoryStore(), OutboxLimits())
    outbox.add([row(1, SERVER), row(2)])
    nothing: Any = None
    messages = Notifications(
        outbox, nothing, nothing, nothing, rules=None, make_test=lambda user, url: row(1)
    )
    assert [each.id for each in messages.page(ADMIN).notifications] == ["m0001"]
    assert [each.id for each in messages.page(ADA).notifications] == ["m0002"]
    with pytest.raises(Conflict, match="are disabled"):
        messages.secret(ADA, HOOK)
