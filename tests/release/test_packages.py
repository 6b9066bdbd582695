"""Wheel and source distribution hold the page, an installed wheel serves it without node, and the
lock files name no host."""

import re
import shutil
import sys
import tarfile
import urllib.request
import zipfile
from pathlib import Path

import pytest

from tests.support.cli_server import SECONDS, Server
from tests.support.commands import ran

ROOT = Path(__file__).parents[2]
FILES = ROOT / "fetchml/api/ui/files"
LOCKS = ("requirements.lock", "web/package-lock.json")


def page() -> set[str]:
    names = {path.relative_to(ROOT).as_posix() for path in FILES.rglob("*") if path.is_file()}
    assert "fetchml/api/ui/files/index.html" in names, "run make web"
    return names


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    done = ran(command, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_wheel_has_the_page(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        assert page() <= set(packed.namelist())


@pytest.mark.slow
def test_sdist_has_the_page(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    assert page() <= names


@pytest.mark.slow
def test_installed_wheel_serves_the_page_without_node(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    uv, installed = Path(sys.executable).with_name("uv"), tmp_path / "installed"
    for command in (
        ("venv", "--python", sys.executable, installed),
        # The versions of `make setup`, which are in uv's cache.
        ("pip", "install", "--python", installed, "-c", ROOT / "requirements.lock", wheel),
    ):
        done = ran([uv, *command])
        assert done.returncode == 0, done.stderr
    programs = installed / "bin"
    assert shutil.which("node", path=str(programs)) is None
    server = Server(tmp_path / "data", program=[str(programs / "fetchml")], PATH=str(programs))
    server.start()
    try:
        index = fetched(server, "/ui/")
        assets = re.findall(r'(?:src|href)="(?:/ui/)?([^":]+\.(?:js|css))"', index)
        assert len(assets) >= 2, index
        for name in assets:
            assert fetched(server, f"/ui/{name}") == (FILES / name).read_text()
    finally:
        assert server.stop() == 0


def fetched(server: Server, path: str) -> str:
    with urllib.request.urlopen(f"http://{server.http}{path}", timeout=SECONDS) as answer:
        assert answer.status == 200
        found: str = answer.read().decode()
        return found


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_names_no_host(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert "index-url" not in text
