"""Envoy's configurations, read from the files: routes, timeouts and the access log."""

import re
from functools import cache
from typing import Any

import pytest
import yaml

from testbed import envoy as proxy
from tests.server.ways_in_table import METHODS


@cache
def manager(configuration: str) -> dict[str, Any]:
    settings = yaml.load((proxy.CONFIGURATIONS / configuration).read_text(), yaml.CSafeLoader)
    listener = settings["static_resources"]["listeners"][0]
    return dict(listener["filter_chains"][0]["filters"][0]["typed_config"])


def route_of(path: str, **headers: str) -> dict[str, Any]:
    """Envoy takes the first that matches. Underscores in names stand for hyphens."""
    for route in manager("envoy.yaml")["route_config"]["virtual_hosts"][0]["routes"]:
        match = route["match"]
        on_path = (
            path == match.get("path")
            or ("prefix" in match and path.startswith(match["prefix"]))
            or ("safe_regex" in match and re.fullmatch(match["safe_regex"]["regex"], path))
        )
        if on_path and all(matches(one, headers) for one in match.get("headers", ())):
            return dict(route["route"])
    raise AssertionError("there is a last route for all")


def matches(matcher: dict[str, Any], headers: dict[str, str]) -> bool:
    value = headers.get(matcher["name"].replace("-", "_"))
    if value is None:
        return False
    regex = matcher["string_match"]["safe_regex"]["regex"]
    return (re.fullmatch(regex, value) is None) is matcher.get("invert_match", False)


@pytest.mark.parametrize(
    "path",
    [
        "/ws",
        "/jupyter/a/b",
        "/v1/snapshots",
        "/v1/tasks/a/logs",
        "/v1/tasks/a/outputs/b/c",
        "/v1/tasks/a/archive",
        "/v1/tasks/a/shell",
    ],
)
def test_streams_have_no_time_limit(path: str) -> None:
    assert (route_of(path)["timeout"], route_of(path)["idle_timeout"]) == ("0s", "0s")


MAY_BE_QUIET = {
    "TaskService.WatchTasks", "TaskService.StreamTaskLogs", "QueueService.WatchQueue",
    "GpuService.WatchGpus", "AccessService.ExecTask", "AccessService.ForwardPort",
}  # fmt: skip
"""Streams on which nothing may happen for hours."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "content_type", ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8",
                     "application/grpc-web+proto", "application/grpc-web-text"],
)  # fmt: skip
def test_grpc_has_a_time_limit_only_for_nothing_read(content_type: str) -> None:
    idle = {f"/fetchml.v1.{name.replace('.', '/')}": name not in MAY_BE_QUIET for name in METHODS}
    idle["/grpc.health.v1.Health/Watch"] = False
    for path, ends in idle.items():
        assert route_of(path, content_type=content_type, grpc_timeout="5S") == {
            "cluster": "grpc", "timeout": "0s", "idle_timeout": "90s" if ends else "0s",
        }, path  # fmt: skip


@pytest.mark.parametrize("path", ["/v1/tasks", "/v1/tasks/a", "/v1/tasks/a/outputs", "/v1/queue"])
def test_other_requests_have_a_time_limit(path: str) -> None:
    assert route_of(path) == {"cluster": "http", "timeout": "40s"}


@pytest.mark.parametrize("configuration", ["envoy.yaml", "transcoder.yaml"])
def test_key_in_a_path_is_redacted_in_the_log(configuration: str) -> None:
    usual, with_a_key = (
        one["typed_config"]["log_format"]["json_format"]
        for one in manager(configuration)["access_log"]
    )
    assert usual | {"path": "[redacted]"} == with_a_key
