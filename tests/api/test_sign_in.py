"""Signing in to the page: bad bodies, limits, one-time codes, and what is never shown."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from yarl import URL

from fetchml.auth import key_tokens, limits
from fetchml.auth.limits import RateLimiter
from fetchml.core.model import Role
from tests.support.front import EDGE
from tests.support.page_browser import SESSION as PATH
from tests.support.page_browser import Browser, audit_of
from tests.support.rest_world import Client, World, rest_world


async def test_signing_in_again_ends_the_earlier_session(browser: Browser) -> None:
    await browser.sign_in()
    earlier = dict(browser.cookies)
    await browser.sign_in(Role.VIEWER)
    assert (await browser.ask("GET", PATH)).json["role"] == "viewer"
    browser.cookies = earlier
    assert (await browser.ask("GET", "/v1/tasks")).status == 401


async def test_bad_sign_ins(browser: Browser) -> None:
    for body, status in [
        ({"key": "fml_wrong"}, 401),
        ({"key": "\u0000\ud800".encode("utf-8", "replace").decode()}, 401),
        ({"code": "fml_code_wrong"}, 401),
        ({}, 422),
        ({"key": "a", "code": "b"}, 422),
        ({"key": ""}, 422),
        ({"key": None}, 422),
        ({"code": ["a"]}, 422),
        ({"key": "a" * 1025}, 422),
        ({"key": "a" * 5000}, 413),
        ([], 422),
    ]:
        reply = await browser.ask("POST", PATH, body)
        assert reply.status == status
        assert "Set-Cookie" not in reply.headers


async def test_body_of_unknown_length_is_refused(rest: World) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"key": "a"}'

    client: Client = rest.as_(None)
    headers = {"Content-Type": "application/json"}
    async with client.session.post(client.url(PATH), data=pieces(), headers=headers) as reply:
        assert reply.status == 413


async def test_wrong_keys_and_codes_are_limited_by_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # However slowly they are asked on a busy machine.
    monkeypatch.setattr(limits, "WRONG_KEYS_PER_SECOND", 0.001)
    async with rest_world(RateLimiter(1000, 1000)) as rest:
        browser = Browser(rest, f"localhost:{rest.port}")
        codes = set[int]()
        for number in range(60):
            body = {"code": f"fml_code_{number}"} if number % 2 else {"key": f"fml_{number}"}
            codes.add((await browser.ask("POST", PATH, body)).status)
        assert codes == {401, 429}
        assert (await browser.sign_in()).status == 201, "a valid key is not locked out"


async def test_owner_of_a_code_is_limited_by_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # However slowly they are asked on a busy machine.
    monkeypatch.setattr(limits, "WRONG_KEYS_PER_SECOND", 0.001)
    async with rest_world(RateLimiter(1000, 1000)) as rest:
        browser = Browser(rest, f"localhost:{rest.port}")
        tried = [
            (await browser.ask("POST", f"{PATH}/code", {"code": f"fml_code_{n}"})).status
            for n in range(60)
        ]
        assert tried[:50] == [401] * 50
        assert 429 in tried


async def test_bad_requests_for_the_owner_of_a_code(browser: Browser) -> None:
    for body, status in [({}, 422), ({"code": 1}, 422), ({"code": "a" * 5000}, 413)]:
        assert (await browser.ask("POST", f"{PATH}/code", body)).status == status


async def test_code_signs_in_once(browser: Browser) -> None:
    rest = browser.rest
    (key,) = (each for each in rest.keyring.list() if each.role is Role.ADMIN)
    code, _ = rest.server._admission.codes.create(key.id)
    for _ in range(2):  # To ask whose it is does not use it up.
        owner = await browser.ask("POST", f"{PATH}/code", {"code": code})
        assert (owner.status, owner.json) == (200, {"user": "admin", "role": "admin"})
        assert "Set-Cookie" not in owner.headers
    replies = await asyncio.gather(*(browser.ask("POST", PATH, {"code": code}) for _ in range(5)))
    assert sorted(reply.status for reply in replies) == [201, 401, 401, 401, 401]
    (reply,) = (reply for reply in replies if reply.status == 201)
    assert (reply.json["user"], reply.json["role"]) == ("admin", "admin")
    assert (await browser.ask("POST", f"{PATH}/code", {"code": code})).status == 401


async def test_codes_end_and_are_bounded(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    rest = browser.rest
    codes = rest.server._admission.codes
    key, _ = await rest.keyring.create("ada", Role.USER)
    first, _ = codes.create(key.id)
    for _ in range(key_tokens.CODES_BY_KEY):
        last, _ = codes.create(key.id)
    assert len(codes) == key_tokens.CODES_BY_KEY
    assert (await browser.ask("POST", PATH, {"code": first})).status == 401
    await rest.keyring.revoke(key.id)
    assert (await browser.ask("POST", PATH, {"code": last})).status == 401
    monkeypatch.setattr(key_tokens, "CODE_MS", 0)
    other, _ = await rest.keyring.create("bob", Role.USER)
    code, _ = codes.create(other.id)
    assert (await browser.ask("POST", PATH, {"code": code})).status == 401


async def test_secrets_are_never_shown(
    browser: Browser, elsewhere: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    await browser.sign_in()
    token = (await elsewhere.sign_in()).json["token"]
    await browser.ask("POST", PATH, {"code": "fml_code_0123456789012345678901"})
    secrets = [token, *browser.cookies.values(), *browser.rest.secrets.values()]
    entries = msgspec.json.encode(await audit_of(browser.rest)).decode()
    for secret in secrets:
        assert secret not in caplog.text
        assert secret not in entries
    url = URL(f"{browser.rest.client.base}{PATH}?key={secrets[-1]}")
    async with browser.rest.client.session.post(url) as reply:
        assert reply.status >= 400, "a key in the URL is no key"


@pytest.mark.fronts(EDGE)
async def test_session_in_memory_passes_a_proxy(elsewhere: Browser) -> None:
    reply = await elsewhere.sign_in()
    assert (reply.status, reply.json["mode"]) == (201, "memory")
    token = reply.json["token"]
    assert (await elsewhere.ask("GET", "/v1/tasks", X_FetchML_Session=token)).status == 200
    client = elsewhere.rest.as_(None)
    protocols = ("fetchml.v1", f"fetchml.session.{token}")
    async with client.session.ws_connect(client.url("/ws"), protocols=protocols) as socket:
        assert socket.protocol == "fetchml.v1"
    # Links with a ticket: Envoy may write a path with other escapes.
    for path, status in (("/v1/tasks?limit=1", 200), ("/v1/tasks/a/outputs/%61%20'(b)%2F", 404)):
        made = await elsewhere.ask("POST", f"{PATH}/tickets", {"path": path})
        found = f"{path}{'&' if '?' in path else '?'}fetchml-ticket={made.json['ticket']}"
        got = [(await elsewhere.ask("GET", found, X_FetchML_Session=None)).status for _ in "ab"]
        assert got == [status, 401]
    assert (await elsewhere.ask("DELETE", PATH, X_FetchML_Session=token)).status == 204
    assert (await elsewhere.ask("GET", "/v1/tasks", X_FetchML_Session=token)).status == 401
