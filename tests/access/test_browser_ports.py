"""A task's port at an origin of its own, as a browser uses it."""

import json
import socket
from collections.abc import Mapping
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from fetchml.client import Client
from tests.access.conftest import Entered
from tests.access.web_server import WEB
from tests.support.waiting import SECONDS, soon

SAME = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture(scope="session")
def port(entered: Entered) -> int:
    """Of a web server beside the task's own process, which a session keeps running."""
    return entered.serve(WEB, "web-port")


def ask(
    entered: Entered,
    url: str,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] = SAME,
) -> tuple[HTTPResponse, bytes]:
    """Send a request to the origin of a URL, which this host may not resolve."""
    parts = urlsplit(url)
    host, _, port = entered.server.http.rpartition(":")
    path = parts.path + (parts.query and f"?{parts.query}")
    with closing(HTTPConnection(host, int(port), timeout=SECONDS)) as connection:
        connection.request(method, path, body, {"Host": parts.netloc, **headers})
        with connection.getresponse() as reply:
            return reply, reply.read()


def let_in(entered: Entered, port: int, client: Client | None = None) -> tuple[str, str]:
    """Follow a link; return the origin and the cookie."""
    link = (client or entered.owner).open_port(entered.task_id, port)
    reply, _ = ask(entered, link.url, headers={})
    assert (reply.status, reply.headers["Location"]) == (303, "/")
    cookie = reply.headers["Set-Cookie"]
    assert cookie.endswith("HttpOnly; SameSite=Lax")
    return link.url.partition("?")[0], cookie.partition(";")[0]


def test_a_page_and_its_requests(entered: Entered, port: int) -> None:
    origin, cookie = let_in(entered, port)
    assert urlsplit(origin).hostname == f"{entered.task_id}-{port}.localhost"
    secrets = {"X-API-Key": "k", "Authorization": "Bearer k", "X-FetchML-Session": "s"}
    sent = {**SAME, **secrets, "Cookie": f"own=2; {cookie}; fetchml-session-1=s", "X-Own": "yes"}
    reply, body = ask(entered, f"{origin}a%2Fb?c=d%20e", headers=sent)
    seen = json.loads(body)
    assert (reply.status, seen["path"]) == (200, "/a%2Fb?c=d%20e")
    headers = {name.lower(): value for name, value in seen["headers"]}
    assert headers["cookie"] == "own=2"
    assert headers["x-own"] == "yes"
    assert headers["host"] == urlsplit(origin).netloc
    assert not headers.keys() & {"x-api-key", "authorization", "x-fetchml-session"}
    assert reply.headers.get_all("Set-Cookie") == ["own=1"]
    assert "Clear-Site-Data" not in reply.headers
    own = {"Cookie": cookie, "Origin": origin.rstrip("/")}
    _, body = ask(entered, f"{origin}x", "POST", b"data", own)
    assert (json.loads(body)["method"], json.loads(body)["body"]) == ("POST", "data")


def test_a_query_may_have_any_fields(entered: Entered, port: int) -> None:
    origin, cookie = let_in(entered, port)
    for query in ("&".join(["a"] * 2000), "name=fetchml-ticket", "%ff=%&;=&&", "x" * 4000):
        reply, body = ask(entered, f"{origin}?{query}", headers={**SAME, "Cookie": cookie})
        assert (reply.status, json.loads(body)["path"]) == (200, f"/?{query}")
    many = "&".join(["fetchml-ticket=a"] * 400)
    assert ask(entered, f"{origin}?{many}", headers=SAME)[0].status == 401


def test_a_link_works_once_and_for_its_port(entered: Entered, port: int) -> None:
    link = entered.owner.open_port(entered.task_id, port).url
    other = link.replace(f"-{port}.", "-1.")
    assert ask(entered, other)[0].status == 401
    assert ask(entered, link)[0].status == 401
    link = entered.owner.open_port(entered.task_id, port).url
    assert [ask(entered, link)[0].status for _ in range(2)] == [303, 401]
    forged = link.replace("fml_port_", "fml_port_x")
    assert ask(entered, forged)[0].status == 401


def test_a_link_stays_at_its_origin(entered: Entered, port: int) -> None:
    link = entered.owner.open_port(entered.task_id, port).url
    reply, _ = ask(entered, link.replace("/?", "//example.org/?a=b&"))
    assert (reply.status, reply.headers["Location"]) == (303, "/example.org/?a=b")


def test_a_cookie_opens_only_its_port(entered: Entered, port: int) -> None:
    origin, cookie = let_in(entered, port)
    assert ask(entered, origin, headers={**SAME, "Cookie": cookie})[0].status == 200
    assert ask(entered, origin)[0].status == 401
    elsewhere = origin.replace(f"-{port}.", "-1.")
    assert ask(entered, elsewhere, headers={**SAME, "Cookie": cookie})[0].status == 401
    other = origin.replace(entered.task_id[-4:], "0000")
    assert ask(entered, other, headers={**SAME, "Cookie": cookie})[0].status == 401
    main = f"http://{entered.server.http}/v1/tasks"
    as_session = {**SAME, "Cookie": cookie.replace("port", "session-0")}
    assert ask(entered, main, headers=as_session)[0].status == 401


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}),
        ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}),
        (
            "GET",
            {
                "Sec-Fetch-Site": "same-site",
                "Sec-Fetch-Mode": "navigate",
                "Sec-Fetch-Dest": "iframe",
            },
        ),
        ("GET", {"Origin": "http://other.localhost"}),
        ("POST", {"Origin": "http://other.localhost"}),
        ("POST", {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate"}),
        ("POST", {}),
        ("GET", {"Upgrade": "websocket"}),
    ],
)
def test_requests_of_other_pages_are_refused(
    entered: Entered, port: int, method: str, headers: dict[str, str]
) -> None:
    origin, cookie = let_in(entered, port)
    assert ask(entered, origin, method, None, {**headers, "Cookie": cookie})[0].status == 403


def test_a_link_from_elsewhere_is_followed(entered: Entered, port: int) -> None:
    origin, cookie = let_in(entered, port)
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Cookie": cookie}
    assert ask(entered, origin, headers=headers)[0].status == 200


async def test_a_websocket(entered: Entered, port: int) -> None:
    origin, cookie = let_in(entered, port)
    headers = {
        "Host": urlsplit(origin).netloc,
        "Origin": origin.rstrip("/"),
        "Cookie": cookie,
    }
    async with aiohttp.ClientSession() as session:
        url = f"http://{entered.server.http}/"
        async with session.ws_connect(url, headers=headers) as socket:
            await socket.send_str("hello")
            assert await soon(socket.receive_str()) == "hello"


def test_it_ends_with_the_key(entered: Entered, port: int) -> None:
    key = entered.key("ada")
    with Client(entered.server.grpc, key.secret) as client:
        origin, cookie = let_in(entered, port, client)
    assert ask(entered, origin, headers={**SAME, "Cookie": cookie})[0].status == 200
    entered.revoke(key.key.id)
    assert ask(entered, origin, headers={**SAME, "Cookie": cookie})[0].status == 401


def test_where_nothing_listens(entered: Entered) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        free = unused.getsockname()[1]
    origin, cookie = let_in(entered, free)
    reply, body = ask(entered, origin, headers={**SAME, "Cookie": cookie})
    found: dict[str, Any] = json.loads(body)
    assert (reply.status, found["error"]) == (
        409,
        f"Nothing listens on port {free} of the task",
    )


def test_over_rest(entered: Entered, port: int) -> None:
    key = entered.key("ada").secret
    url = f"http://{entered.server.http}/v1/tasks/{entered.task_id}/ports/"
    reply, body = ask(entered, f"{url}{port}", "POST", None, {"X-API-Key": key})
    link = json.loads(body)
    assert (reply.status, link.keys()) == (200, {"url", "expires_at"})
    assert ask(entered, link["url"], headers={})[0].status == 303
    for wrong in ("0", "70000", "x"):
        assert ask(entered, f"{url}{wrong}", "POST", None, {"X-API-Key": key})[0].status == 400
    elsewhere = {"X-API-Key": key, "Host": "example.org"}
    reply, body = ask(entered, f"{url}{port}", "POST", None, elsewhere)
    assert reply.status == 409
    assert "[jupyter] domain" in json.loads(body)["error"]
