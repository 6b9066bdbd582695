"""A path with encoded characters leads where a proxy that compares paths as they are sent sees it
lead, or nowhere."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from aiohttp import web

from fetchml.api.http.router import Route, Router
from tests.hostile.http_server import KEY, Target, target
from tests.hostile.raw import ask, exchange


class Place(NamedTuple):
    address: str
    task: str
    """An ended task with the outputs `sub/a.txt` and `we%2Fird`."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with target(tmp_path_factory.mktemp("paths"), FETCHML_LAUNCHER="process") as server:
        yield Place(server.server.http, ended_task(server))


def ended_task(server: Target) -> str:
    script = "cd $FETCHML_OUTPUTS && mkdir sub && echo inside > sub/a.txt && echo odd > we%2Fird"
    _, task = server.ask("POST", "/v1/tasks", {"job_name": "a", "command": ["sh", "-c", script]})
    task_id: str = task["id"]
    server.server.run("logs", "-f", task_id, FETCHML_API_KEY=KEY).succeeded()
    assert server.ask("GET", f"/v1/tasks/{task_id}")[1]["status"] == "completed"
    return task_id


def get(place: Place, path: str, method: str = "GET") -> tuple[int, Any]:
    answer = ask(place.address, method.encode(), path.replace("ID", place.task).encode())
    return answer.status, answer.body


NOWHERE = [
    # An encoded slash, backslash or NUL is no boundary, and no part of a name.
    "/v1/tasks/ID%2Foutputs", "/v1/tasks/ID%2foutputs", "/v1/tasks/ID%2Flogs",
    "/v1/tasks/ID%2Foutputs/sub/a.txt", "/v1/tasks/ID%5Coutputs", "/v1/tasks/ID%5coutputs",
    "/v1/tasks/ID%00", "/v1/tasks/ID%00/outputs", "/v1/tasks/ID%252Foutputs", "/v1/tasks/%2F",
    "/v1/tasks/x%2F..%2FID", "/v1/tasks/..%2ftasks", "/v1/tasks/..%2f..%2fmetrics",
    "/v1/tasks/%2e%2e/keys", "/v1/tasks/%2e%2e%2fkeys", "/v1/tasks/../keys", "/v1/tasks/./ID",
    "/v1%2Ftasks", "/v1%2ftasks/ID", "%2Fv1/tasks", "/%2Fv1/tasks", "//v1/tasks", "/v1//tasks",
    "/v1/tasks%2F", "/v1/tasks%2FID", "/v1/tasks%00", "/v1/tasks%20", "/v1/tasks%3Flimit=1",
    "/v1/experiments/a%2Fresults", "/v1/snapshots/a%2Ffiles", "/v1/sweeps/a%2Fbest",
    "/v1/jupyter/services/..%2Fservices", "/jupyter%2FID/", "/jupyter/a%2Fb/",
    # Nor does an encoded letter name the path that a rule of a proxy forbids.
    "/v1/%74asks", "/v1/tas%6Bs", "/%761/keys", "/%6Detrics", "/metric%73", "/%77s", "/%75i/",
    "/v1/tasks/ID/%6Futputs", "/v1/tasks/ID/output%73/sub/a.txt", "/metrics%23", "/metrics;a=b",
    # Files are named from the folder of outputs, and never outside of it.
    "/v1/tasks/ID/outputs/..%2f..%2f..%2fadmin.key", "/v1/tasks/ID/outputs/%2e%2e/record.json",
    "/v1/tasks/ID/outputs/..%5c..%5cadmin.key", "/v1/tasks/ID/outputs/%2Fetc%2Fpasswd",
    "/v1/tasks/ID/outputs/sub%5Ca.txt", "/v1/tasks/ID/outputs/sub%252Fa.txt",
    "/v1/tasks/ID/outputs/sub%2F..%2Fsub%2Fa.txt", "/v1/tasks/ID/outputs/sub%2Fa.txt%00",
    "/v1/tasks/ID/outputs/%00", "/v1/tasks/ID/outputs/%FF", "/v1/tasks/ID/outputs/sub%2F",
]  # fmt: skip


@pytest.mark.parametrize("path", NOWHERE)
def test_encoded_path_leads_nowhere(place: Place, path: str) -> None:
    status, body = get(place, path)
    assert status in (400, 404, 422)
    assert json.loads(body).keys() == {"error", "code", "trace_id"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/v1/tasks/ID%2F"),
        ("POST", "/v1/tasks%2FID%2Fretry"),
        ("POST", "/v1/tasks/ID%2Fretry"),
        ("PUT", "/v1/secrets/a%2Fb"),
        ("POST", "/v1/keys/a%2Frevoke"),
        ("POST", "/v1/gpus/a%2F..%2Fb%2Fdrain"),
        ("POST", "/v1/%74asks"),
    ],
)
def test_encoded_path_changes_nothing(place: Place, method: str, path: str) -> None:
    status, _ = get(place, path, method)
    assert status in (400, 404, 405, 422)
    assert get(place, "/v1/tasks/ID")[0] == 200


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("sub/a.txt", b"inside\n"),
        ("sub%2Fa.txt", b"inside\n"),  # As generated clients encode a parameter.
        ("%73ub%2fa%2etxt", b"inside\n"),
        ("we%252Fird", b"odd\n"),
    ],
)
def test_path_of_an_output_is_decoded_once(place: Place, path: str, content: bytes) -> None:
    assert get(place, f"/v1/tasks/ID/outputs/{path}") == (200, content)


def test_encoded_parameter_is_decoded(place: Place) -> None:
    encoded = "".join(f"%{ord(each):02x}" for each in place.task)
    status, body = get(place, f"/v1/tasks/{encoded}")
    assert (status, json.loads(body)["id"]) == (200, place.task)


def test_path_in_a_url_is_treated_alike(place: Place) -> None:
    for path, expected in ((f"/v1/tasks/{place.task}%2Foutputs", 404), ("/%6Detrics", 404)):
        line = f"GET http://a{path} HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\n"
        assert (
            exchange(place.address, f"{line}Connection: close\r\n\r\n".encode()).status == expected
        )


async def nothing() -> web.StreamResponse:
    raise AssertionError


def test_only_the_rest_of_a_path_has_slashes() -> None:
    router = Router()
    for path in ("/a/{x}", "/a/{x}/b/{rest...}", "/a/{x}/b"):
        router.add(Route("GET", path, nothing))
    for path, expected in (
        ("/a/1%2F2", ()),
        ("/a/1%2Fb", ()),
        ("/a/1%2F2/b/3", ()),
        ("/a/1/b/2%2F3", ("1", "2/3")),
        ("/a/%31/b", ("1",)),
        ("/a/%25/b", ("%",)),
        ("/a/%ff%41", ("%ff%41",)),
        ("/%61/1", ()),
    ):
        assert router.find("GET", path)[1] == expected, path
