"""Services at origins of their own: what each origin serves."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from fetchml.config.settings import JupyterSettings, ServerSettings, Settings
from fetchml.jupyter.origin import JupyterOrigins, ServerAddress
from fetchml.server import wiring
from fetchml.server.cannot_start import CannotStart
from tests.jupyter.proxy_world import BASE, ID, OTHER, TOKEN, World, echo, proxy_world
from tests.jupyter.test_sockets import repeat, taking
from tests.support.waiting import SECONDS

UNKNOWN = "0198c0de-0000-7000-8000-000000000009"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with proxy_world(tmp_path, domain="*.localhost") as made:
        await made.jupyter(echo)
        yield made


def at(world: World, service_id: str = ID) -> str:
    return f"{service_id}.localhost:{world.port}"


def get(world: World, path: str, host: str, **options: Any) -> Any:
    return world.ask(options.pop("method", "GET"), path, headers={"Host": host}, **options)


async def test_the_main_origin_redirects_to_the_services_origin(world: World) -> None:
    for path, then in (
        (f"{BASE}/lab?token=a%20b", f"{BASE}/lab?token=a%20b"),
        (f"{BASE}?a", f"{BASE}/?a"),
        (BASE, f"{BASE}/"),
    ):
        async with world.get(path) as reply:
            assert reply.status == 307
            assert reply.headers["Location"] == f"http://{at(world)}{then}"
    async with world.get(f"/jupyter/{UNKNOWN}/") as reply:
        assert reply.status == 404


async def test_the_services_origin_serves_the_service(world: World) -> None:
    async with get(world, f"{BASE}/lab", at(world)) as reply:
        text = await reply.text()
        assert text.startswith(f"GET {BASE}/lab\n")
        assert f"Host: {at(world)}" in text
    for path, then in (("/", "/"), ("/lab?token=a", "/lab?token=a"), (f"{BASE}?a", "/?a")):
        async with get(world, path, at(world)) as reply:
            assert (reply.status, reply.headers["Location"]) == (307, BASE + then)
    async with get(world, "/api/kernels", at(world), method="POST") as reply:
        assert (await reply.text()).startswith(f"POST {BASE}/api/kernels\n")


async def test_the_host_name_is_matched_in_every_spelling(world: World) -> None:
    for host in ["{id}.LOCALHOST:{port}", "{id}.localhost", "{id}.localhost.:{port}"]:
        async with get(world, f"{BASE}/lab", host.format(id=ID, port=world.port)) as reply:
            assert (await reply.text()).startswith(f"GET {BASE}/lab\n")


async def test_the_services_origin_does_not_serve_the_api(world: World) -> None:
    for path in ["/health", "/v1/tasks", "/ws", "/metrics", "/openapi.yaml", "/livez"]:
        async with get(world, path, at(world)) as reply:
            assert (reply.status, reply.headers["Location"]) == (307, BASE + path)
        async with get(world, path, at(world), method="POST") as reply:
            assert (await reply.text()).startswith(f"POST {BASE}{path}\n"), (
                "Jupyter's, whatever it is"
            )


async def test_unknown_host_names_are_not_found(world: World) -> None:
    for label in [UNKNOWN, "www", "a.b", "", "-", f"x.{ID}", f"{ID}.x", "%00"]:
        for path in ("/", "/health", "/v1/tasks", f"{BASE}/lab", f"{BASE}/../x"):
            host = f"{label}.localhost:{world.port}"
            request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            assert (await world.raw(request.encode())).startswith(b"HTTP/1.1 404 ")


async def test_the_services_origin_serves_no_other_service(world: World) -> None:
    async def other(_: web.BaseRequest) -> web.Response:
        raise AssertionError("it was asked")

    await world.jupyter(other, OTHER)
    for path in (f"/jupyter/{OTHER}/lab", f"/jupyter/{OTHER}", "/jupyter/", f"{BASE}x/"):
        async with get(world, path, at(world)) as reply:
            assert reply.status == 404
    for path in (f"/../{OTHER}/", f"{BASE}/../{OTHER}/", f"/%2e%2e/{OTHER}/"):
        request = f"GET {path} HTTP/1.1\r\nHost: {at(world)}\r\nConnection: close\r\n\r\n"
        assert (await world.raw(request.encode())).startswith(b"HTTP/1.1 404 ")


ORIGINS = [
    ("http://{own}", True),
    ("https://{own}", True),
    ("http://{other}", False),
    ("http://localhost:{port}", False),
    ("http://{own}.example.org", False),
    ("null", False),
    ("{own}", False),
    ("ftp://{own}", False),
    ("http://{own}/", False),
]


@pytest.mark.parametrize("separate", [True, False])
async def test_only_pages_of_the_service_open_its_sockets(tmp_path: Path, separate: bool) -> None:
    async with proxy_world(tmp_path, domain="*.localhost" if separate else None) as world:
        await world.jupyter(taking(repeat))
        own = at(world) if separate else f"127.0.0.1:{world.port}"
        url = world.url(f"{BASE}/api/kernels/1/channels")
        for origin, opens in ORIGINS:
            named = origin.format(own=own, other=at(world, OTHER), port=world.port)
            headers = {"Host": own, "Origin": named}
            if opens:
                async with world.session.ws_connect(url, headers=headers) as socket:
                    await socket.send_str("a")
                    assert await socket.receive_str(timeout=SECONDS) == "a"
            else:
                with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
                    await world.session.ws_connect(url, headers=headers)


async def test_strangers_are_not_redirected_to_a_private_service(tmp_path: Path) -> None:
    async with proxy_world(tmp_path, domain="*.localhost", private=True) as world:
        await world.jupyter(echo)
        stranger = {"Authorization": ""}
        async with world.get(f"{BASE}/lab", headers=stranger) as reply:
            assert reply.status == 404
        async with world.get(f"{BASE}/lab", headers={**stranger, "Host": at(world)}) as reply:
            assert reply.status == 404
        async with world.get(f"{BASE}/lab?token={TOKEN}", headers=stranger) as reply:
            assert reply.status == 307


def test_the_address_of_a_service() -> None:
    for domain, public, url in [
        (None, "http://gpu:9101", f"http://gpu:9101/jupyter/{ID}/"),
        ("*.localhost", "http://127.0.0.1:9101", f"http://{ID}.localhost:9101/"),
        ("*.lab.example.org", "https://gpu.example.org", f"https://{ID}.lab.example.org/"),
    ]:
        origins = JupyterOrigins(public, domain)
        assert origins.url(ID) == url
        assert len(ID) <= 63, "a DNS label has room for it"


def test_host_names_of_the_server_itself_name_no_service() -> None:
    for host in ["localhost", "localhost:9101", "xlocalhost", "[::1]:9101", "", None]:
        assert JupyterOrigins("", "*.localhost").label_of(host) is None
        assert JupyterOrigins("").label_of(host) is None


def test_the_server_s_own_name_must_lie_outside_of_the_domain() -> None:
    settings = Settings(
        server=ServerSettings(public_url="https://gpu.lab.example.org"),
        jupyter=JupyterSettings(domain="*.lab.example.org"),
    )
    with pytest.raises(CannotStart, match="Choose another domain"):
        wiring.public_url(settings, 9101)


def test_malformed_domains_are_rejected() -> None:
    for domain in ["lab.org", "*", "*.", "*.Lab.org", "*.a..b", "a.*.org", "*.a/b"]:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"domain": domain}, JupyterSettings)


MARKED = {"Sec-Fetch-Site": "none"}


@pytest.fixture
async def loopback(tmp_path: Path) -> AsyncIterator[World]:
    async with proxy_world(tmp_path, loopback=True) as made:
        await made.jupyter(echo)
        yield made


async def test_browsers_on_loopback_are_redirected(loopback: World) -> None:
    for name in ["localhost", "127.0.0.1", "[::1]", "LOCALHOST."]:
        host = f"{name}:{loopback.port}"
        session = {"Cookie": f"fetchml-session-{loopback.port}=x"}
        for browser in (MARKED, session, {"sec-fetch-mode": "cors"}):
            async with loopback.get(
                f"{BASE}/lab?token=a", headers={"Host": host, **browser}
            ) as reply:
                assert reply.status == 307
                assert reply.headers["Location"] == f"http://{at(loopback)}{BASE}/lab?token=a"
        async with get(loopback, f"{BASE}/lab", at(loopback)) as reply:
            assert (await reply.text()).startswith(f"GET {BASE}/lab\n")


async def test_other_clients_on_loopback_are_served_at_the_path(loopback: World) -> None:
    async with loopback.get(f"{BASE}/lab") as reply:
        assert (await reply.text()).startswith(f"GET {BASE}/lab\n")
    assert loopback.services.origins.url(ID) == f"http://127.0.0.1:{loopback.port}{BASE}/"


async def test_a_proxy_on_loopback_is_no_browser(loopback: World) -> None:
    for header in ["X-Forwarded-For", "X-Forwarded-Host", "Forwarded", "Via"]:
        async with loopback.get(f"{BASE}/lab", headers={**MARKED, header: "a"}) as reply:
            assert reply.status == 200


async def test_jupyter_gets_no_session(loopback: World) -> None:
    sent = {
        "Host": at(loopback),
        "Cookie": f"fetchml-session-{loopback.port}=SECRET; __Host-fetchml-session-default=SECRET",
        "X-FetchML-Session": "SECRET",
    }
    async with loopback.get(f"{BASE}/lab", headers=sent) as reply:
        text = await reply.text()
    assert "secret" not in text.lower()
    assert "x-fetchml" not in text.lower()


async def test_jupyter_sets_no_session(tmp_path: Path) -> None:
    async with proxy_world(tmp_path, loopback=True) as world:
        await world.replies(
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
            b"Set-Cookie: fetchml-session-9101=planted\r\n"
            b"Set-Cookie: __Host-fetchml-session-default=planted; Path=/; Secure\r\n\r\n"
        )
        async with world.get(f"{BASE}/lab") as reply:
            assert reply.status == 200
            assert "planted" not in str(reply.headers)


@pytest.fixture
async def two_ports(tmp_path: Path) -> AsyncIterator[World]:
    async with proxy_world(tmp_path, second=True, loopback=True) as made:
        await made.jupyter(echo)
        yield made


async def test_the_main_port_redirects_to_the_second(two_ports: World) -> None:
    world, port = two_ports, two_ports.services.origins.port
    for host in (f"gpu.example:{world.port}", f"localhost:{world.port}", "gpu.example"):
        async with world.get(f"{BASE}/lab?token=a", headers={"Host": host}) as reply:
            assert reply.status == 307
            name = host.partition(":")[0]
            assert reply.headers["Location"] == f"http://{name}:{port}{BASE}/lab?token=a"
    assert world.services.origins.url(ID) == f"http://127.0.0.1:{port}{BASE}/"


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]"])
async def test_browsers_on_loopback_leave_the_page_s_host_at_the_second_port_too(
    two_ports: World, name: str
) -> None:
    origins = two_ports.services.origins
    own = f"{ID}.localhost:{origins.port}"
    for port in (two_ports.port, origins.port):
        url = f"http://127.0.0.1:{port}{BASE}/lab?token=a"
        headers = {"Host": f"{name}:{port}", **MARKED}
        async with two_ports.session.get(url, headers=headers, allow_redirects=False) as reply:
            assert reply.status == 307
            assert reply.headers["Location"] == f"http://{own}{BASE}/lab?token=a"
    url = f"http://127.0.0.1:{origins.port}{BASE}/lab"
    async with two_ports.session.get(url, headers={"Host": own, **MARKED}) as reply:
        assert (await reply.text()).startswith(f"GET {BASE}/lab\n")
    page = ServerAddress("http", name, str(two_ports.port), direct=True)
    assert origins.at("{id}", page) == f"http://{{id}}.localhost:{origins.port}"
    assert origins.of_port("task-1", page) == f"http://task-1.localhost:{origins.port}"
    elsewhere = page._replace(host="gpu.example")
    assert origins.at("{id}", elsewhere) == f"http://gpu.example:{origins.port}"
    assert origins.of_port("task-1", elsewhere) is None


async def test_the_second_port_serves_services_and_nothing_else(two_ports: World) -> None:
    address = f"http://127.0.0.1:{two_ports.services.origins.port}"
    key = {"X-API-Key": two_ports.secret}
    session = two_ports.session
    async with session.get(f"{address}{BASE}/lab") as reply:
        assert (await reply.text()).startswith(f"GET {BASE}/lab\n")
    for path in ("/", "/ui/", "/ui/session", "/v1/tasks", "/ws", "/health", "/metrics"):
        async with session.get(f"{address}{path}", headers=key) as reply:
            assert reply.status == 404, path
    host = {"Host": f"127.0.0.1:{two_ports.port}"}
    async with session.get(f"{address}/ui/", headers=host) as reply:
        assert reply.status == 404, "the port counts, not the name"


@pytest.mark.parametrize(
    ("server", "jupyter", "ports", "reason"),
    [
        ({}, {"domain": "*.lab.example.org"}, (9101, 9111), "set one of them"),
        ({}, {}, (9101, 9101), "different ports"),
        ({"public_url": "https://gpu.example.org"}, {}, (9101, 9111), "domain instead"),
    ],
)
def test_second_listener_that_gives_no_origin_is_refused(
    server: dict[str, Any], jupyter: dict[str, Any], ports: tuple[int, int], reason: str
) -> None:
    settings = Settings(server=ServerSettings(**server), jupyter=JupyterSettings(**jupyter))
    with pytest.raises(CannotStart, match=reason):
        wiring.options(settings, *ports)


@pytest.mark.parametrize(
    ("types", "may_stay"),
    [
        (["text/javascript; charset=utf-8"], True),
        (["image/png"], True),
        (["text/html"], False),
        (["image/svg+xml"], False),
        (["image/x+xml"], False),
        (["text/css, text/html"], False),
        (["text/css; charset=utf-8, text/html"], False),
        (["text/css", "text/html"], False),
        ([], False),
    ],
)
async def test_no_document_at_the_server_s_origin_stays_in_the_browser_s_cache(
    loopback: World, types: list[str], may_stay: bool
) -> None:
    headers = "".join(f"Content-Type: {each}\r\n" for each in types)
    reply = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nCache-Control: max-age=9\r\n"
    await loopback.replies(f"{reply}{headers}\r\n".encode(), OTHER)
    path = f"/jupyter/{OTHER}/files/a"
    async with loopback.get(path) as shared:
        kept = "max-age=9" if may_stay else "no-store"
        assert shared.headers.getall("Cache-Control") == [kept]
    async with get(loopback, path, at(loopback, OTHER)) as own:
        assert own.headers.getall("Cache-Control") == ["max-age=9"]


async def test_no_service_worker_at_the_server_s_origin(loopback: World) -> None:
    worker = {"Service-Worker": "script"}
    for headers in (worker, {**worker, **MARKED, "Host": f"localhost:{loopback.port}"}):
        async with loopback.get(f"{BASE}/files/worker.js", headers=headers) as reply:
            assert reply.status == 403
    own = {**worker, "Host": at(loopback)}
    async with loopback.get(f"{BASE}/files/worker.js", headers=own) as reply:
        assert reply.status == 200
