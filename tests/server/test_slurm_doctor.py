"""`fetchml doctor` for a cluster: its configuration, and a job on a node."""

import asyncio
import json
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from fetchml.adapters.slurm.job import Job
from fetchml.config.settings import Settings
from fetchml.ops.checks import cluster, cluster_probe
from fetchml.ports.cluster import Node
from fetchml.views import Finding
from testbed.slurm import Slurm
from tests.support.cli_server import run
from tests.support.slurm_fixtures import backend_of, both_transports

pytestmark = pytest.mark.slow

PORTS = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
NODE = Node("g1", ("IDLE",), takes_work=True, gpu=4, gpu_used=1, partitions=("gpu",))


def findings(tmp_path: Path, variables: Mapping[str, str], *more: str) -> dict[str, Any]:
    data = str(tmp_path / "data")
    ran = run("doctor", "--json", *more, "--data-dir", data, *PORTS, **variables)
    return {check["name"]: check for check in json.loads(ran.out)["checks"]}


@both_transports
def test_probe_runs_on_a_node(slurm: Slurm, transport_name: str, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    variables = {**backend_of(slurm, transport_name, shared).variables}
    variables["FETCHML_SLURM_CONTAINER"] = "apptainer"
    variables["FETCHML_SLURM_RELAY_PORTS"] = "41000-41999"
    found = findings(tmp_path, variables, "--probe")
    assert found["probe"]["ok"], found["probe"]
    assert found["probe container"]["says"].endswith("has no apptainer")
    assert "saw the shared folder" in found["probe"]["says"]
    for name in ("probe python", "probe clock", "probe shim"):
        assert found[name]["ok"], found[name]
    assert re.fullmatch(
        r"this host reaches port 41\d\d\d of (g1|g2|c3)", found["probe port"]["says"]
    )
    assert "probe user" not in found
    assert [path.name for path in shared.iterdir()] == ["shim"], "the probe leaves nothing"
    slurm.until(lambda: not slurm.jobs_below(shared), "the probe's job is over")


def test_probe_that_slurm_refuses(slurm: Slurm, tmp_path: Path) -> None:
    variables = {**backend_of(slurm, "cli", tmp_path / "shared").variables}
    found = findings(tmp_path, {**variables, "FETCHML_SLURM_PARTITION": "none"}, "--probe")
    assert (found["probe"]["ok"], found["partition"]["ok"]) == (False, False)
    assert "Slurm refuses the job" in found["probe"]["says"]
    assert found["partition"]["mend"] == "Set [slurm] partition to one of: main."


def test_probe_is_for_clusters(tmp_path: Path) -> None:
    ran = run("doctor", "--probe", "--data-dir", str(tmp_path), FETCHML_LAUNCHER="process")
    assert (ran.code, "--probe is for a cluster" in ran.err) == (2, True)


def probed(**changes: str) -> dict[str, Finding]:
    found = {
        "word": "w",
        "node": "g1",
        "clock": "1000",
        "user": str(os.geteuid()),
        "machine": "x86_64",
        "python": "3.11.2",
        "shim": "2",
    }
    checks = cluster_probe._findings({**found, **changes}, "w", 1010.0)
    return {check.name: check for check in checks}


def test_findings_of_the_probe() -> None:
    assert all(check.ok and not check.advice for check in probed().values())
    assert "another folder" in probed(word="x")["probe"].finding
    assert probed(python="")["probe python"].advice
    assert not probed(clock="900")["probe clock"].ok
    assert not probed(user="77")["probe user"].ok
    assert "noexec" in probed(shim="126")["probe shim"].fix


def test_probe_of_the_container_runtime() -> None:
    there = cluster_probe._runtime("podman", {"node": "g1", "runtime": "podman version 5.4.2"})
    assert (there.ok, there.finding) == (True, "podman version 5.4.2")
    missing = cluster_probe._runtime("apptainer", {"node": "g1", "runtime": ""})
    assert (missing.ok, missing.finding) == (False, "g1 has no apptainer")
    assert "plugstack.conf" in cluster_probe._runtime("pyxis", {"node": "g1"}).fix


async def test_port_of_a_node_that_is_out_of_reach() -> None:
    class Nodes:
        address = "127.0.0.1"

        async def nodes(self) -> list[Node]:
            return [replace(NODE, address=self.address)]

    nodes: Any = Nodes()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        found = {"node": "g1", "python": "3.11.2", "port": str(listener.getsockname()[1])}
        reaching = asyncio.create_task(cluster_probe._reach(nodes, found, "word"))
        client, _ = await asyncio.get_running_loop().sock_accept(listener)
        client.send(b"else")
        client.close()
        why = await reaching
    assert why.endswith("another program answers")
    refused = await cluster_probe._reach(nodes, found, "word")
    assert refused == f"127.0.0.1 port {found['port']}: Connection refused"
    shown = cluster_probe._reached(found, refused, "0-0")
    assert (shown.ok, "[slurm] relay_ports" in shown.advice) == (True, True)
    nodes.address = "a..b"
    assert "is no host name: 'a..b' (NodeAddr)" in await cluster_probe._reach(nodes, found, "word")
    nodes.address = ""
    assert "is unknown" in await cluster_probe._reach(nodes, found, "word")
    assert not cluster_probe._reached({**found, "port": ""}, "", "5000-5000").ok
    assert "not tried" in cluster_probe._reached({**found, "python": ""}, "", "0-0").finding


def test_probe_without_a_record() -> None:
    waits = cluster_probe._without_record(Job(1, ("PENDING",), reason="Resources"), "")
    assert (waits.ok, "(Resources)" in waits.finding) == (True, True)
    failed = cluster_probe._without_record(Job(1, ("FAILED",), nodes="g1"), "no such folder")
    assert "FAILED on g1" in failed.finding
    assert failed.finding.endswith("no such folder")


@pytest.mark.parametrize(("shown", "is_old"), [("20.11.9", False), ("19.05.2", True), ("?", False)])
def test_versions(shown: str, is_old: bool) -> None:
    assert bool(cluster.version_advice(shown)) == is_old


def test_nodes_of_the_partition() -> None:
    settings = Settings()
    chosen = replace(settings, slurm=replace(settings.slurm, partition="gpu"))
    other = Node("c1", ("IDLE",), takes_work=True, partitions=("cpu",))
    found = {check.name: check for check in cluster.node_findings(chosen, [NODE, other])}
    assert found["cluster nodes"].finding == "2 of 2 take work"
    assert found["partition"].finding == "gpu: 1 of 1 nodes take work"
    assert found["cluster gpus"].finding == "4, 1 in use"
    drained = replace(NODE, takes_work=False)
    found = {check.name: check for check in cluster.node_findings(chosen, [drained])}
    assert not found["partition"].ok
    found = {check.name: check for check in cluster.node_findings(settings, [other])}
    assert "GresTypes" in found["cluster gpus"].advice
