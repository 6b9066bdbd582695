"""Messages by Apprise, whose service for JSON over HTTP stands for all of its services."""

import json
import sys

import pytest

from fetchml.adapters.notifiers.apprise import AppriseNotifier, BadAddress, name_of
from fetchml.ports.notifier import Message, NotDelivered
from tests.support.waiting import SECONDS
from tests.support.webhook_receiver import Receiver

LINKS = {"page": "http://a.example/ui/tasks/0190", "task": "http://a.example/v1/tasks/0190"}
TASK = {"id": "0190", "job_name": "train", "user_id": "ada", "error": "exit code 3"}


def address_of(receiver: Receiver) -> str:
    return receiver.url.replace("http://", "json://user:secret@")


async def send(receiver: Receiver, body: object, name: str | None = None) -> None:
    address = address_of(receiver)
    notifier = AppriseNotifier([address], timeout_seconds=SECONDS)
    content = json.dumps(body).encode()
    await notifier.send(Message("m1", name or name_of(address), content, 1_760_000_000))


@pytest.mark.parametrize(
    ("body", "title", "text"),
    [
        (
            {"type": "task.failed", "data": {"task": TASK, "links": LINKS}},
            "train failed",
            f"Task 0190 of ada\nexit code 3\n{LINKS['page']}",
        ),
        (
            {
                "type": "sweep.ended",
                "data": {
                    "sweep": {"id": "s", "name": "rates", "counts": {"completed": 3, "failed": 1}},
                    "links": {"sweep": "http://a.example/v1/sweeps/s"},
                },
            },
            "Sweep rates ended",
            "3 completed, 1 failed\nhttp://a.example/v1/sweeps/s",
        ),
        ({"type": "test", "data": {"message": "hello"}}, "FetchML: a test message", "hello"),
    ],
)
async def test_message_is_a_text(receiver: Receiver, body: object, title: str, text: str) -> None:
    await send(receiver, body)
    [got] = receiver.got
    assert (got.json["title"], got.json["message"]) == (title, text)


async def test_service_that_does_not_take_it(receiver: Receiver) -> None:
    receiver.status = 500
    with pytest.raises(NotDelivered, match="the service rejected the message") as error:
        await send(receiver, {"type": "test", "data": {}})
    assert not error.value.permanent


async def test_address_that_is_gone_from_the_settings(receiver: Receiver) -> None:
    with pytest.raises(NotDelivered, match="no longer in the server") as error:
        await send(receiver, {"type": "test", "data": {}}, "json:00000000")
    assert error.value.permanent


def test_name_of_an_address_reveals_no_password() -> None:
    assert name_of("mailtos://ada:pw@example.com").startswith("mailtos:")
    assert "pw" not in name_of("mailtos://ada:pw@example.com")


def test_wrong_address_is_reported_without_it() -> None:
    with pytest.raises(BadAddress, match="address nothing://… that Apprise") as error:
        AppriseNotifier(["nothing://token-secret"], timeout_seconds=1)
    assert "secret" not in str(error.value)


def test_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(BadAddress, match=r"install fetchml\[notify\]"):
        AppriseNotifier(["json://a.example"], timeout_seconds=1)
