"""The field `notify`: what a request may ask for, and what others see of it."""

from typing import Any

import pytest

from fetchml.core import notifications
from fetchml.core.addresses import AddressRules
from fetchml.core.model import EventKind, NotifyTarget, Resources, Status, TaskSpec, shown_url
from fetchml.core.notifications import OFF
from fetchml.core.requests import rerun, update
from fetchml.core.requests.submission import Defaults, InvalidSubmission, TaskLimits
from tests.support.accepting import accept
from tests.support.project_files import project_of
from tests.support.tasks import task

DEFAULTS = Defaults("image", ("true",), TaskLimits(), 0)
HOST = Resources(4, 8, 1)


def accepted(notify: object, project: str = "", **options: Any) -> TaskSpec:
    request: dict[str, object] = {"job_name": "a"}
    if notify is not None:
        request["notify"] = notify
    return accept(request, DEFAULTS, HOST, project_of(project), **options)


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("https://example.com", "must be a list"),
        ([{"url": f"https://{n}.example"} for n in range(6)], "more than 5 items"),
        (["https://example.com"], "item 0 must be an object with url and on"),
        ([{"on": ["failed"]}], "item 0 must have a url"),
        ([{"url": "https://a.example", "secret": "x"}], "item 0 must not have 'secret'"),
        ([{"url": None}], "item 0 url must not be null"),
        ([{"url": 1}], "item 0 url must be a string"),
        ([{"url": "file:///etc/passwd"}], "must be a URL of http or https"),
        ([{"url": "gopher://a.example"}], "must be a URL of http or https"),
        ([{"url": "https://"}], "must name a host"),
        ([{"url": "https://a.example:0/"}], "must name a host"),
        ([{"url": "http://%00/"}], "item 0 url must name a host of at most 253 characters"),
        ([{"url": "http://a%2eexample/"}], "must name a host"),
        ([{"url": f"http://{'a' * 1800}/"}], "must name a host"),
        ([{"url": f"http://{'a' * 64}.example/"}], "must name a host"),
        ([{"url": f"http://{'a.' * 127}example/"}], "must name a host"),
        ([{"url": "http://a..example/"}], "must name a host"),
        ([{"url": "http://.example/"}], "must name a host"),
        ([{"url": "http://a!b/"}], "must name a host"),
        ([{"url": "http://[v1.a]/"}], "must name a host"),
        ([{"url": "https://a.example:99999/"}], "must be a URL"),
        ([{"url": "https://[::1/"}], "must be a URL"),
        ([{"url": "https://user:word@a.example/"}], "must hold no user and password"),
        ([{"url": "https://@a.example/"}], "must hold no user and password"),
        ([{"url": "https://a.example/#b"}], "must hold no fragment"),
        ([{"url": "https://a.example/\r\nX: y"}], "item 0 url"),
        ([{"url": "https://a.example/ b"}], "must hold visible ASCII characters"),
        ([{"url": "https://a.example\\@b.example/"}], "must hold visible ASCII characters"),
        ([{"url": "https://bücher.example/"}], "must hold visible ASCII characters"),
        ([{"url": "https://a.example/" + "a" * 2048}], "longer than 2048 characters"),
        ([{"url": "https://a.example"}, {"url": "https://a.example"}], "item 1 url appears twice"),
        ([{"url": "https://a.example", "on": []}], "on must not be empty"),
        ([{"url": "https://a.example", "on": "failed"}], "on must be a list"),
        ([{"url": "https://a.example", "on": ["done"]}], "must be one of started, completed"),
        ([{"url": "https://a.example", "on": [["failed"]]}], "must be one of started, completed"),
        ([{"url": "https://a.example", "on": ["failed"] * 2}], "must not name an event twice"),
        (
            [{"url": "https://a.example", "on": ["failed"] * 10_000}],
            "on must not have more than 5 items",
        ),
        ([{"url": "http://127.0.0.1/"}], "private or local address"),
        ([{"url": "http://localhost:9102/"}], "private or local address"),
        ([{"url": "http://a.localhost/"}], "private or local address"),
        ([{"url": "http://2130706433/"}], "private or local address"),
        ([{"url": "http://0x7f.1/"}], "private or local address"),
        ([{"url": "http://10.0.0.1/"}], "private or local address"),
        ([{"url": "http://169.254.169.254/latest"}], "private or local address"),
        ([{"url": "http://[::ffff:127.0.0.1]/"}], "private or local address"),
        ([{"url": "http://[fe80::1]/"}], "private or local address"),
        ([{"url": "http://[fd00:ec2::254]/"}], "private or local address"),
        ([{"url": "http://224.0.0.1/"}], "private or local address"),
        ([{"url": "http://0.0.0.0/"}], "private or local address"),
    ],
)
def test_broken_rule_is_named(value: object, rule: str) -> None:
    with pytest.raises(InvalidSubmission) as error:
        accepted(value)
    [violation] = error.value.violations
    assert violation.field == "notify"
    assert rule in violation.rule


@pytest.mark.parametrize(
    "host",
    [
        "hook",
        "my_hook.example",
        "xn--bcher-kva.example",
        "A.Example.",
        f"{'a' * 63}.example:8080",
        "a." * 126 + "b",
        "8.8.8.8",
        "[2606:4700::1111]:443",
    ],
)
def test_host_that_may_exist_is_taken(host: str) -> None:
    assert accepted([{"url": f"https://{host}/"}]).notify


def test_events_have_a_default() -> None:
    spec = accepted([{"url": "https://a.example"}])
    assert spec.notify == (
        NotifyTarget("https://a.example", (EventKind.COMPLETED, EventKind.FAILED)),
    )
    assert rerun.request_of(task(spec=spec))["notify"] == [
        {"url": "https://a.example", "on": ["completed", "failed"]}
    ]


def test_no_addresses_are_as_good_as_no_field() -> None:
    assert accepted([]).notify is None
    assert accepted(None) == accepted([])


def test_request_replaces_that_of_the_project_file() -> None:
    project = '[[notify]]\nurl = "https://project.example/"\non = ["failed"]\n'
    [own] = accepted([{"url": "https://own.example"}], project).notify or ()
    assert own.url == "https://own.example"


def test_private_addresses_need_the_setting_and_metadata_services_stay_out() -> None:
    private = AddressRules(allow_private=True)
    assert accepted([{"url": "http://10.0.0.1/"}], notify_addresses=private).notify
    with pytest.raises(InvalidSubmission, match="private or local"):
        accepted([{"url": "http://169.254.169.254/"}], notify_addresses=private)
    named = AddressRules(allow_hosts=frozenset({"10.0.0.1"}))
    assert accepted([{"url": "http://10.0.0.1/"}], notify_addresses=named).notify


def test_server_that_sends_nothing_rejects_the_field() -> None:
    with pytest.raises(InvalidSubmission) as error:
        accepted([{"url": "https://a.example"}], notify_addresses=None)
    assert error.value.violations == [("notify", OFF)]
    assert accepted(None, notify_addresses=None).notify is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.example/T0/B0/secret?token=x", "https://hooks.example/…"),
        ("https://hooks.example?token=x", "https://hooks.example/…"),
        ("http://hooks.example:8080/", "http://hooks.example:8080"),
    ],
)
def test_others_see_the_host_only(url: str, shown: str) -> None:
    assert notifications.url_fault(url) is None
    assert shown_url(url) == shown


def test_addresses_of_a_live_task_change() -> None:
    before = task(status=Status.RUNNING)
    wanted = update.read({"notify": [{"url": "https://a.example", "on": ["failed"]}]})
    assert wanted.summary == "notify 1 addresses"
    changed = update.apply(before, wanted).task
    assert changed is not None
    assert changed.spec.notify == (NotifyTarget("https://a.example", (EventKind.FAILED,)),)
    removed = update.apply(changed, update.read({"notify": []})).task
    assert removed == before
    ended = task(status=Status.COMPLETED, ended_at=5)
    assert update.apply(ended, wanted).conflict == "notify: the task has ended, it is completed"
