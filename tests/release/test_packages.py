"""The Python packages: what is in them, that they install from wheels, source distributions and
git, without Node, beside the libraries of trainings. The lock files name no host."""

import json
import os
import re
import shutil
import sys
import tarfile
import tomllib
import urllib.request
import zipfile
from pathlib import Path
from urllib.error import HTTPError

import pytest

from fetchml import __version__
from tests.support.cli_server import SECONDS, Server, environment
from tests.support.commands import ran

ROOT = Path(__file__).parents[2]
FILES = ROOT / "fetchml/api/ui/files"
CLIENT, SERVER = ROOT / "pyproject.toml", ROOT / "build/server/pyproject.toml"
LOCKS = ("requirements.lock", "proto/protoc.lock", "web/package-lock.json")
PROGRAMS = Path(sys.executable).parent
LARGEST_CLIENT_BYTES = 2_000_000
FULL = os.environ.get("FETCHML_FULL") == "1"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
LIBRARIES = {
    "newest": ("torch", "tensorflow", "mlflow"),
    "protobuf 6": ("torch==2.8.0", "tensorflow==2.20.0", "mlflow==3.3.0", "protobuf<7"),
    "oldest": ("torch==2.8.0", "mlflow==2.22.1", "protobuf==6.31.1", "grpcio==1.76.0"),
}
BESIDE = [  # and a version of Python that the libraries have wheels for
    *[("newest", python) for python in ("3.11", "3.12", "3.13", "3.14")],
    *[(older, python) for older in ("protobuf 6", "oldest") for python in ("3.11", "3.13")],
]


def done(*command: str | Path, seconds: float = 600) -> str:
    """Run a command, which takes long where it downloads, and return its output."""
    ended = ran(command, cwd=ROOT, timeout=seconds)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def package_files(folder: Path) -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def wheel_files(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as packed:
        return {name for name in packed.namelist() if ".dist-info/" not in name}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    done("build/packages.sh", folder)
    return folder


@pytest.fixture(scope="module")
def client_wheel(built: Path) -> Path:
    return built / f"fetchml-{__version__}-py3-none-any.whl"


@pytest.fixture(scope="module")
def server_wheel(built: Path) -> Path:
    return built / f"fetchml_server-{__version__}-py3-none-any.whl"


def test_both_packages_require_the_same_version() -> None:
    client, server = (tomllib.loads(path.read_text())["project"] for path in (CLIENT, SERVER))
    assert f"fetchml=={__version__}" in server["dependencies"]
    extras = client["optional-dependencies"]
    assert extras.pop("server") == [f"fetchml-server=={__version__}"]
    assert set(extras) == set(server["optional-dependencies"])
    for name, requirements in extras.items():
        assert requirements == [f"fetchml-server[{name}]=={__version__}"]


@pytest.mark.slow
def test_each_file_is_in_one_wheel(client_wheel: Path, server_wheel: Path) -> None:
    in_client, in_server = wheel_files(client_wheel), wheel_files(server_wheel)
    assert not in_client & in_server
    assert in_client | in_server == package_files(ROOT / "fetchml")
    page = package_files(FILES)
    assert "fetchml/api/ui/files/index.html" in page
    assert page <= in_server
    assert client_wheel.stat().st_size <= LARGEST_CLIENT_BYTES


@pytest.mark.slow
def test_source_distribution_has_the_page(built: Path) -> None:
    with tarfile.open(built / f"fetchml_server-{__version__}.tar.gz") as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    assert package_files(FILES) <= names


@pytest.mark.slow
def test_wheel_lists_the_libraries_in_the_page(server_wheel: Path) -> None:
    with zipfile.ZipFile(server_wheel) as packed:
        [name] = [each for each in packed.namelist() if "/sboms/" in each]
        listed = json.loads(packed.read(name))
    assert listed == json.loads(done(sys.executable, "build/sbom.py", "page"))


@pytest.mark.slow
def test_metadata_is_valid(built: Path) -> None:
    done(PROGRAMS / "uv", "tool", "run", "twine", "check", "--strict", *built.iterdir())


@pytest.mark.parametrize("project", [CLIENT, SERVER], ids=["client", "server"])
def test_description_has_no_link_to_a_file(project: Path) -> None:
    """The page of an index has no files."""
    description = project.parent / tomllib.loads(project.read_text())["project"]["readme"]
    assert not re.findall(r"\]\((?!https://)", description.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("source", ["*.whl", "*.tar.gz", "git"])
def test_installed_server_needs_no_node(built: Path, tmp_path: Path, source: str) -> None:
    """It serves the page, which an installation from git lacks."""
    found = tmp_path / "found"
    found.mkdir()
    for path in built.glob(source):
        shutil.copy(path, found)
    from_git = source == "git"
    wanted = f" @ git+file://{ROOT}" if from_git else f"=={__version__}"
    installed = tmp_path / "installed"
    done(PROGRAMS / "uv", "venv", "--python", sys.executable, installed)
    install = ("pip", "install", "--python", installed, "--find-links", found)
    # The versions of `make setup`, which are in uv's cache.
    done(PROGRAMS / "uv", *install, "-c", "requirements.lock", f"fetchml[server]{wanted}")
    programs = installed / "bin"
    assert shutil.which("node", path=str(programs)) is None
    server = Server(tmp_path / "data", program=[str(programs / "fetchml")], PATH=str(programs))
    server.start()
    try:
        if from_git:
            with pytest.raises(HTTPError) as missing:
                fetched(server, "/ui/")
            assert b"The page was not built" in missing.value.read()
            return
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


@pytest.mark.slow
def test_client_works_with_the_oldest_libraries_that_it_admits(
    client_wheel: Path, tmp_path: Path
) -> None:
    uv, lowest, installed = PROGRAMS / "uv", tmp_path / "lowest.txt", tmp_path / "installed"
    resolve = ("pip", "compile", "--resolution", "lowest-direct", "--output-file", lowest)
    done(uv, *resolve, "--python", sys.executable, "--universal", CLIENT)
    done(uv, "venv", "--python", sys.executable, installed)
    done(uv, "pip", "install", "--python", installed, "-r", lowest, client_wheel)
    assert "grpcio==1.76.0" in lowest.read_text()
    submit = ("submit", "--wait", "--", "echo", "trained")
    server = Server(tmp_path / "data").start()
    try:
        ended = ran([installed / "bin/fetchml", *submit], env=environment(**server.variables))
    finally:
        assert server.stop() == 0
    assert ended.returncode == 0, ended.stderr
    assert "trained\n" in ended.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("beside", "python"), BESIDE)
def test_client_fits_beside_the_libraries_of_trainings(
    client_wheel: Path, tmp_path: Path, beside: str, python: str
) -> None:
    """Together they take 9 GB: they are resolved, and with FETCHML_FULL=1 also installed, with the
    Python of .venv."""
    uv, wanted, resolved = PROGRAMS / "uv", tmp_path / "wanted.in", tmp_path / "resolved.txt"
    wanted.write_text("\n".join([*LIBRARIES[beside], f"fetchml @ {client_wheel.as_uri()}"]))
    resolve = ("pip", "compile", "--python-version", python, "--only-binary", ":all:")
    done(uv, *resolve, "--output-file", resolved, wanted)
    trained_with = re.findall(r"^(torch|tensorflow|mlflow)==", resolved.read_text(), re.MULTILINE)
    assert "torch" in trained_with
    if FULL and python == PYTHON:
        installed = tmp_path / "installed"
        done(uv, "venv", "--python", sys.executable, installed)
        done(uv, "pip", "install", "--python", installed, "-r", resolved)
        done(installed / "bin/python", "-c", f"import {', '.join(trained_with)}, fetchml.client")
        shutil.rmtree(installed)


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_names_no_host(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert "index-url" not in text
