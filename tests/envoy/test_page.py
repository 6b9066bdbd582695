"""docs/envoy.md and compose.yaml agree with the configurations."""

import re
from typing import Any

import pytest
import yaml

from fetchml.config.settings import RateLimitSettings
from testbed import envoy as proxy
from tests.support.validate import ROOT

PAGE = (ROOT / "docs/envoy.md").read_text()


def test_every_difference_has_a_row_and_every_row_a_test() -> None:
    tests = (ROOT / "tests/envoy/transcoded/test_differences.py").read_text()
    named = set(re.findall(r"\| `(test_\w+)` \|", PAGE))
    assert named == set(re.findall(r"^async def (test_\w+)", tests, re.MULTILINE))


def load(name: str) -> Any:
    return yaml.load((proxy.CONFIGURATIONS / name).read_text(), yaml.CSafeLoader)


def test_compose_mounts_the_files_that_envoy_reads() -> None:
    services = load("compose.yaml")["services"]
    mounts = dict(volume.split(":")[:2] for volume in services["envoy"]["volumes"])
    text = (proxy.CONFIGURATIONS / "envoy.yaml").read_text()
    read = set(re.findall(rf"filename: ({proxy.FILES}/[\w.]+)", text))
    assert read | {f"{proxy.FILES}/envoy.yaml"} == set(mounts.values())
    assert {service["network_mode"] for service in services.values()} == {"host"}


def test_both_configurations_use_the_addresses_of_fetchml() -> None:
    for name in ("envoy.yaml", "transcoder.yaml"):
        for cluster in load(name)["static_resources"]["clusters"]:
            (endpoint,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
            address = endpoint["endpoint"]["address"]["socket_address"]
            assert address == {
                "address": "127.0.0.1",
                "port_value": {"http": 9101, "grpc": 9102}[cluster["name"]],
            }


@pytest.mark.parametrize("configuration", ["envoy.yaml", "transcoder.yaml"])
def test_rate_limit_equals_the_default_of_fetchml(configuration: str) -> None:
    manager = load(configuration)["static_resources"]["listeners"][0]["filter_chains"][0]["filters"]
    filters = {one["name"]: one for one in manager[0]["typed_config"]["http_filters"]}
    limit = filters["envoy.filters.http.local_ratelimit"]["typed_config"]
    ours = RateLimitSettings()
    buckets = [limit["token_bucket"], *(one["token_bucket"] for one in limit["descriptors"])]
    assert len(buckets) == 3
    for bucket in buckets:
        assert bucket == {
            "max_tokens": ours.burst,
            "tokens_per_fill": ours.per_second,
            "fill_interval": "1s",
        }
