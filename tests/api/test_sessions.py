"""Signing in to the page: where the token is kept, who may use it, and when it ends."""

import time
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from fetchml.auth import key_tokens, limits, sessions
from fetchml.auth.limits import RateLimiter
from fetchml.core.audit import Action
from fetchml.core.model import Role
from tests.support.page_browser import SAME, Browser, audit_of
from tests.support.page_browser import SESSION as PATH
from tests.support.rest_world import rest_world
from tests.support.stub_services import OPTIONS
from tests.support.waiting import soon, until


async def test_session_is_in_a_cookie_where_jupyter_has_origins_of_its_own(
    browser: Browser,
) -> None:
    reply = await browser.sign_in()
    assert reply.status == 201
    port = browser.rest.port
    assert reply.json == {
        "mode": "cookie",
        "jupyter_origin": f"http://{{id}}.localhost:{port}",
        "user": "user",
        "role": "user",
        "private": False,
        "expires_at": reply.json["expires_at"],
        "token": browser.token,
    }
    assert reply.headers["Clear-Site-Data"] == '"cache", "storage"'
    (cookie,) = reply.headers.getall("Set-Cookie")
    name, _, attributes = cookie.partition("=")
    assert name == f"fetchml-session-{port}"
    parts = attributes.split("; ")[1:]
    assert {"Path=/", "HttpOnly", "SameSite=Strict"} < set(parts)
    assert not any(part.startswith(("Domain", "Secure")) for part in parts)
    assert (await browser.ask("GET", "/v1/tasks")).status == 200
    made = await browser.ask("POST", "/v1/tasks", {"job_name": "a"})
    assert (made.status, made.json["user_id"]) == (201, "user")
    assert (await browser.ask("GET", PATH)).json["user"] == "user"


async def test_session_through_a_tunnel_with_another_local_port(browser: Browser) -> None:
    """`ssh -L 9999:127.0.0.1:9101`: the server sees the browser's own address in `Host`."""
    tunnel = {"Host": "127.0.0.1:9999", "Origin": "http://127.0.0.1:9999"}
    reply = await browser.sign_in(Role.USER, **tunnel)
    assert (reply.status, reply.json["mode"]) == (201, "cookie")
    assert reply.json["jupyter_origin"] == "http://{id}.localhost:9999"
    assert [*browser.cookies] == ["fetchml-session-9999"]
    assert (await browser.ask("POST", "/v1/tasks", {"job_name": "a"}, **tunnel)).status == 201
    assert (await browser.ask("GET", "/v1/tasks")).status == 401, "the cookie is of another port"


async def test_session_stays_in_memory_where_jupyter_shares_the_origin(
    elsewhere: Browser,
) -> None:
    reply = await elsewhere.sign_in()
    assert reply.status == 201
    assert reply.json["mode"] == "memory"
    assert "Jupyter" in reply.json["reason"]
    assert not {"Set-Cookie", "Clear-Site-Data"} & reply.headers.keys()
    assert (await elsewhere.ask("GET", "/v1/tasks")).status == 200
    token, elsewhere.token = elsewhere.token, None
    assert (await elsewhere.ask("GET", "/v1/tasks")).status == 401
    for name in (f"fetchml-session-{elsewhere.rest.port}", "fetchml-session-default"):
        assert (await elsewhere.ask("GET", "/v1/tasks", Cookie=f"{name}={token}")).status == 401


async def test_neither_the_cookie_nor_the_token_is_a_session(browser: Browser) -> None:
    await browser.sign_in()
    ((name, cookie),) = browser.cookies.items()
    token = browser.token
    for sent in (
        {"X_FetchML_Session": None},
        {"Cookie": None},
        # The one is not accepted as the other.
        {"X_FetchML_Session": cookie},
        {"Cookie": f"{name}={token}"},
        {"X_FetchML_Session": cookie, "Cookie": f"{name}={token}"},
        {"X_FetchML_Session": None, "Cookie": f"{name}={cookie}; {name}={token}"},
    ):
        assert (await browser.ask("GET", "/v1/tasks", **sent)).status == 401, sent
        assert (await browser.ask("POST", "/v1/keys", {"name": "a"}, **sent)).status == 401, sent
        assert "user" not in (await browser.ask("GET", PATH, **sent)).json, sent
    other = Browser(browser.rest, browser.host)
    await other.sign_in(Role.ADMIN)
    for sent in (
        {"X_FetchML_Session": other.token},
        {"Cookie": other.cookie},
    ):
        assert (await browser.ask("GET", "/v1/tasks", **sent)).status == 401, "of another session"
    assert (await browser.ask("GET", "/v1/tasks")).status == 200


async def test_no_cookie_where_the_server_is_not_sure(browser: Browser) -> None:
    cases: list[tuple[dict[str, str | None], str]] = [
        ({"X_Forwarded_For": "192.0.2.1"}, "Jupyter"),
        ({"Via": "1.1 proxy"}, "Jupyter"),
        ({"Origin": "https://gpu.example.org"}, "address"),
        ({"Origin": None, "Sec_Fetch_Site": "same-origin"}, "address"),
        ({"Sec_Fetch_Site": None}, "browser"),
        ({"Sec_Fetch_Site": "same-site"}, "browser"),
        ({"Host": "localhost:1", "Origin": "http://localhost:2"}, "address"),
        ({"Host": "no~body"}, "Jupyter"),
    ]
    for headers, reason in cases:
        reply = await browser.sign_in(Role.USER, **headers)
        assert (reply.status, reply.json["mode"]) == (201, "memory")
        assert reason in reply.json["reason"]
        assert "Set-Cookie" not in reply.headers


async def test_cookie_counts_only_for_requests_of_the_page(browser: Browser) -> None:
    await browser.sign_in()
    port = browser.rest.port
    foreign = [
        f"http://localhost:{port + 1}",
        f"https://localhost:{port}",
        f"http://id.localhost:{port}",
        f"http://127.0.0.1:{port}",
        f"http://LOCALHOST:{port}",
        f"http://localhost:{port}/",
        "http://evil.example",
        "null",
        "",
    ]
    for origin in [*foreign, None]:
        reply = await browser.ask("POST", "/v1/tasks", {"job_name": "a"}, Origin=origin)
        assert (reply.status, reply.code) == (403, "FORBIDDEN"), origin
    for origin in foreign:
        assert (await browser.ask("GET", "/v1/tasks", Origin=origin)).status == 403, origin
    for site in ("same-site", "cross-site", "none", "", "Same-Origin"):
        assert (await browser.ask("GET", "/v1/tasks", Sec_Fetch_Site=site)).status == 403, site
        reply = await browser.ask("DELETE", "/v1/tasks/x", Sec_Fetch_Site=site)
        assert reply.status == 403, site
    # Browsers leave it out on unencrypted connections to other hosts.
    assert (await browser.ask("GET", "/v1/tasks", Sec_Fetch_Site=None)).status == 200
    assert (await browser.ask("GET", "/v1/tasks", Origin=browser.origin)).status == 200
    # Another name for the same server is another place: its cookie has not been sent there.
    assert (await browser.ask("GET", "/v1/tasks", Host="localhost:1")).status == 401


async def test_requests_with_a_key_are_unchanged(browser: Browser) -> None:
    await browser.sign_in(Role.VIEWER)
    key = browser.rest.secrets[Role.USER]
    for origin in ("http://evil.example", None):
        reply = await browser.ask(
            "POST", "/v1/tasks", {"job_name": "a"}, Origin=origin, X_API_Key=key
        )
        assert (reply.status, reply.json["user_id"]) == (201, "user")
        assert "Content-Security-Policy" not in reply.headers
    reply = await browser.ask("GET", "/v1/tasks", X_API_Key="fml_wrong")
    assert reply.status == 401, "a wrong key is not replaced by the session"


async def test_planted_cookies_of_the_name_do_no_harm(browser: Browser) -> None:
    planted = Browser(browser.rest, browser.host)
    await planted.sign_in(Role.ADMIN)
    await browser.sign_in()
    ((name, cookie),) = browser.cookies.items()
    foreign = planted.cookies[name]
    for sent in (
        f"{name}={foreign}; {name}={cookie}",
        f"{name}={cookie}; {name}={foreign}",
        f"{name}; {name}=; {name}=\u00e4; {f'{name}=x; ' * 200}{name}={cookie}",
    ):
        assert (await browser.ask("GET", PATH, Cookie=sent)).json["user"] == "user"
    # The planted cookie alone is nobody's session, and a sign-in beside it works.
    sent = f"{name}={foreign}"
    assert (await browser.ask("GET", "/v1/tasks", Cookie=sent)).status == 401
    assert "user" not in (await browser.ask("GET", PATH, Cookie=sent)).json
    await browser.sign_in(Role.VIEWER, Cookie=sent)
    both = f"{name}={foreign}; {browser.cookie}"
    assert (await browser.ask("GET", PATH, Cookie=both)).json["user"] == "viewer"
    assert (await planted.ask("GET", PATH)).json["user"] == "admin", "its session did not end"


async def test_wrong_sessions_are_limited_by_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # However slowly they are asked on a busy machine.
    monkeypatch.setattr(limits, "WRONG_KEYS_PER_SECOND", 0.001)
    async with rest_world(RateLimiter(1000, 1000)) as rest:
        browser = Browser(rest, f"localhost:{rest.port}")
        await browser.sign_in()
        ((name, cookie),) = browser.cookies.items()
        tried: list[dict[str, str | None]] = [
            {"X_FetchML_Session": None, "Cookie": f"{name}=a; {name}={cookie}"},
            {"Cookie": f"{name}=a; {name}=b"},
            {"X_FetchML_Session": "fml_session_a"},
        ]
        replies = [await browser.ask("GET", "/v1/tasks", **tried[n % 3]) for n in range(60)]
        assert [reply.status for reply in replies[:40]] == [401] * 40
        assert {reply.status for reply in replies[50:]} == {429}
        ticket = "/v1/tasks?fetchml-ticket=fml_ticket_a"
        assert (await browser.ask("GET", ticket, X_FetchML_Session=None)).status == 429
        assert (await browser.ask("GET", "/v1/tasks")).status == 200, "a session is not locked out"


async def test_a_ticket_reads_one_path_once_with_the_cookie(browser: Browser) -> None:
    await browser.sign_in()
    token, tickets = browser.token, f"{PATH}/tickets"

    async def link(path: str) -> str:
        ticket = (await browser.ask("POST", tickets, {"path": path}, X_FetchML_Session=token)).json
        return f"{path}{'&' if '?' in path else '?'}fetchml-ticket={ticket['ticket']}"

    async def status(path: str, method: str = "GET", **headers: str | None) -> int:
        return (await browser.ask(method, path, X_FetchML_Session=None, **headers)).status

    read = await link("/v1/tasks?limit=1")
    assert [await status(read) for _ in range(2)] == [200, 401]
    assert await status((await link("/v1/tasks")).replace("/v1/tasks", "/v1/experiments")) == 401
    assert await status((await link("/v1/tasks?limit=1")).replace("limit=1", "limit=2")) == 401
    assert await status(f"{await link('/v1/tasks')}&limit=2") == 401
    assert await status(await link("/v1/tasks"), "POST") == 401
    assert await status(await link("/v1/tasks"), Cookie=None) == 401
    assert await status(await link("/v1/tasks"), Sec_Fetch_Site="same-site") == 403
    assert await status(await link("/v1/tasks"), Sec_Fetch_Site=None) == 200
    name, other = next(iter(browser.cookies)), Browser(browser.rest, browser.host)
    await other.sign_in(Role.ADMIN)
    assert await status(await link("/v1/tasks"), Cookie=f"{name}={other.cookies[name]}") == 401
    # A proxy may write the same path with other escapes.
    assert await status((await link("/v1/gpus")).replace("gpus", "%67pus", 1)) == 404
    assert await status((await link("/v1/tasks/%61/explain")).replace("%61", "a", 1)) == 404
    kept = await link("/v1/tasks")
    assert await status(tickets, "POST") == 401, "a ticket is got with the token"
    await browser.ask("DELETE", PATH, X_FetchML_Session=token)
    assert await status(kept) == 401, "it ends with the session"


async def test_tickets_end_and_belong_to_sessions(
    browser: Browser, elsewhere: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = browser.rest.secrets[Role.USER]
    reply = await browser.ask("POST", f"{PATH}/tickets", {"path": "/"}, X_API_Key=key)
    assert reply.status == 403
    await elsewhere.sign_in()
    for body, status in (({}, 422), ({"path": 1}, 422), ({"path": "/" * 16_385}, 422)):
        assert (await elsewhere.ask("POST", f"{PATH}/tickets", body)).status == status
    for life, status in ((key_tokens.LINK_TICKET_MS, 200), (0, 401)):
        monkeypatch.setattr(key_tokens, "LINK_TICKET_MS", life)
        made = (await elsewhere.ask("POST", f"{PATH}/tickets", {"path": "/v1/tasks"})).json
        path = f"/v1/tasks?fetchml-ticket={made['ticket']}"
        assert (await elsewhere.ask("GET", path, X_FetchML_Session=None)).status == status


async def test_replies_to_a_session_are_without_effect_in_a_browser(browser: Browser) -> None:
    await browser.sign_in()
    task_id = (await browser.ask("POST", "/v1/tasks", {"job_name": "a"})).json["id"]
    for path in (f"/v1/tasks/{task_id}", f"/v1/tasks/{task_id}/logs", "/v1/tasks/none"):
        reply = await browser.ask("GET", path)
        assert "sandbox" in reply.headers["Content-Security-Policy"], path
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Access-Control-Allow-Origin" not in reply.headers


async def test_no_other_origin_may_read(browser: Browser) -> None:
    reply = await browser.ask(
        "OPTIONS",
        "/v1/tasks",
        Origin="http://evil.example",
        Access_Control_Request_Method="GET",
        Access_Control_Request_Headers="x-fetchml-page,x-fetchml-session",
    )
    assert not any(name.lower().startswith("access-control") for name in reply.headers)


async def test_signing_out_ends_the_session_and_its_streams(browser: Browser) -> None:
    await browser.sign_in()
    async with connected(browser, *protocol(browser), **sent(browser)) as socket:
        assert (await browser.ask("DELETE", PATH, Origin="http://evil.example")).status == 204
        assert (await browser.ask("GET", "/v1/tasks")).status == 200, "others can't sign out"
        reply = await browser.ask("DELETE", PATH)
        assert reply.status == 204
        assert "Max-Age=0" in reply.headers["Set-Cookie"]
        message = await soon(socket.receive())
        assert (message.data, message.extra) == (1008, sessions.SESSION_OVER)
    assert (await browser.ask("GET", "/v1/tasks")).status == 401
    assert (await browser.ask("DELETE", PATH)).status == 204
    assert browser.rest.engine.store is not None
    done = [entry.action for entry in await audit_of(browser.rest)]
    assert done[:2] == [Action.ACCESS_REFUSED, Action.SIGN_OUT]
    assert Action.SIGN_IN in done


def sent(browser: Browser) -> dict[str, str]:
    """The headers of a WebSocket that the page opens."""
    return {"Cookie": browser.cookie, "Origin": browser.origin}


def protocol(browser: Browser) -> tuple[str, ...]:
    return () if browser.token is None else (f"fetchml.session.{browser.token}",)


def connected(browser: Browser, *protocols: str, **headers: str) -> Any:
    client = browser.rest.as_(None)
    given = {"Host": browser.host, **headers}
    return client.session.ws_connect(
        client.url("/ws"), headers=given, protocols=("fetchml.v1", *protocols)
    )


async def test_ws_of_a_cookie_needs_the_token_and_the_page_s_origin(browser: Browser) -> None:
    await browser.sign_in()
    cookie = browser.cookie
    for headers in (
        {},
        SAME,
        {"Origin": f"http://id.localhost:{browser.rest.port}"},
        {"Origin": browser.origin, "Sec-Fetch-Site": "same-site"},
    ):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await connected(browser, *protocol(browser), Cookie=cookie, **headers)
        assert refused.value.status == 403, headers
    for protocols, headers in (
        ((), sent(browser)),
        (("fetchml.session.fml_session_a",), sent(browser)),
        (protocol(browser), {"Origin": browser.origin}),
    ):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await connected(browser, *protocols, **headers)
        assert refused.value.status == 401, protocols
    async with connected(browser, *protocol(browser), **sent(browser)) as socket:
        assert socket.protocol == "fetchml.v1", "the token is not sent back"


async def test_ws_takes_the_token_of_memory_as_a_protocol(elsewhere: Browser) -> None:
    token = (await elsewhere.sign_in()).json["token"]
    async with connected(elsewhere, f"fetchml.session.{token}") as socket:
        assert socket.protocol == "fetchml.v1", "the token is not sent back"
        elsewhere.cookies.clear()
        await elsewhere.ask("DELETE", PATH, X_FetchML_Session=token)
        assert (await soon(socket.receive())).extra == sessions.SESSION_OVER
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await connected(elsewhere, f"fetchml.session.{token}")
    assert refused.value.status == 401


async def test_revoked_key_ends_its_sessions(browser: Browser) -> None:
    rest = browser.rest
    key, secret = await rest.keyring.create("ada", Role.USER)
    rest.secrets[Role.USER] = secret
    await browser.sign_in()
    async with connected(browser, *protocol(browser), **sent(browser)) as socket:
        await rest.keyring.revoke(key.id)
        assert (await soon(socket.receive())).extra == "The key was revoked"
    assert (await browser.ask("GET", "/v1/tasks")).status == 401
    assert "user" not in (await browser.ask("GET", PATH)).json


async def test_session_ends_by_itself(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "SESSION_MS", 1500)
    reply = await browser.sign_in()
    assert "Max-Age=1;" in reply.headers["Set-Cookie"] or "Max-Age=0;" in str(reply.headers)
    try:
        async with connected(browser, *protocol(browser), **sent(browser)) as socket:
            assert (await soon(socket.receive())).extra == sessions.SESSION_OVER
    except aiohttp.WSServerHandshakeError as refused:
        assert refused.status == 401  # noqa: PT017 - a slow machine: it was over before

    async def status() -> int:
        return (await browser.ask("GET", "/v1/tasks")).status

    await until(status, lambda code: code == 401)


async def test_session_does_not_outlive_the_key(browser: Browser) -> None:
    expires_at = time.time_ns() // 1_000_000 + 3_600_000
    _, secret = await browser.rest.keyring.create("ada", Role.USER, expires_at)
    browser.rest.secrets[Role.USER] = secret
    reply = await browser.sign_in()
    max_age = int(reply.headers["Set-Cookie"].partition("Max-Age=")[2].partition(";")[0])
    assert max_age <= 3600


async def test_sessions_of_a_key_are_bounded(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Browser(browser.rest, browser.host)
    await first.sign_in()
    for _ in range(sessions.SESSIONS_BY_KEY - 1):
        await browser.sign_in()
        browser.cookies.clear()
    assert (await first.ask("GET", "/v1/tasks")).status == 200
    await browser.sign_in()
    assert (await first.ask("GET", "/v1/tasks")).status == 401
    assert (await browser.ask("GET", "/v1/tasks")).status == 200
    monkeypatch.setattr(sessions, "SESSIONS_IN_ALL", sessions.SESSIONS_BY_KEY)
    reply = await first.sign_in(Role.ADMIN)
    assert (reply.status, reply.code) == (503, "SERVICE_UNAVAILABLE")


async def test_with_tls_the_cookie_is_bound_to_the_host() -> None:
    options = replace(OPTIONS, domain="*.lab.example", public_url="https://gpu.example")
    async with rest_world(jupyter_options=options) as rest:
        browser = Browser(rest, "gpu.example", "https")
        reply = await browser.sign_in()
        assert reply.json["mode"] == "cookie"
        assert reply.json["jupyter_origin"] == "https://{id}.lab.example"
        cookie = reply.headers["Set-Cookie"]
        assert cookie.startswith("__Host-fetchml-session-default=")
        assert cookie.endswith("; Secure")
        assert (await browser.ask("GET", "/v1/tasks")).status == 200
        reply = await browser.ask(
            "POST", "/v1/tasks", {"job_name": "a"}, Origin="http://gpu.example"
        )
        assert reply.status == 403, "the unencrypted page of the same name is another origin"
