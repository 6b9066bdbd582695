"""`build/install.sh`: it installs what the checksums of a release say, and nothing else."""

import functools
import hashlib
import http.server
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import ran

SCRIPT = Path(__file__).parents[2] / "build/install.sh"
MACHINE = os.uname().machine
NAME = f"fetchml-1.2.3-linux-{MACHINE}"
PROGRAM = "#!/bin/sh\necho fetchml 1.2.3\n"


@pytest.fixture
def release(tmp_path: Path) -> Path:
    folder = tmp_path / "release"
    folder.mkdir()
    (folder / NAME).write_text(PROGRAM)
    (folder / "install.sh").write_bytes(SCRIPT.read_bytes())
    write_sums(folder)
    return folder


def write_sums(folder: Path) -> None:
    lines = [
        f"{hashlib.sha256(each.read_bytes()).hexdigest()}  {each.name}\n"
        for each in sorted(folder.iterdir())
        if each.name != "SHA256SUMS"
    ]
    # A file for another machine is not in this folder.
    lines.append(f"{'0' * 64}  fetchml-1.2.3-linux-other\n")
    (folder / "SHA256SUMS").write_text("".join(lines))


@pytest.fixture
def address(release: Path) -> Iterator[str]:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(release))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def bin_folder(tmp_path: Path) -> Path:
    return tmp_path / "new/bin"


def install(
    bin_folder: Path, script: Path = SCRIPT, **variables: str
) -> subprocess.CompletedProcess[str]:
    return ran(["sh", script], env={**os.environ, "FETCHML_BIN": str(bin_folder), **variables})


def test_beside_the_files(release: Path, bin_folder: Path) -> None:
    done = install(bin_folder, release / "install.sh")
    assert done.returncode == 0, done.stderr
    assert (bin_folder / "fetchml").read_text() == PROGRAM
    assert done.stdout.startswith(f"fetchml 1.2.3 is in {bin_folder}/fetchml\n")
    assert f"export PATH={bin_folder}:$PATH" in done.stdout
    assert [each.name for each in bin_folder.iterdir()] == ["fetchml"]


def test_from_an_address_and_over_an_older_one(address: str, bin_folder: Path) -> None:
    bin_folder.mkdir(parents=True)
    (bin_folder / "fetchml").write_text("older")
    done = install(bin_folder, FETCHML_RELEASE=f"{address}/")
    assert done.returncode == 0, done.stderr
    assert (bin_folder / "fetchml").read_text() == PROGRAM


def test_altered_executable_is_refused(release: Path, bin_folder: Path) -> None:
    (release / NAME).write_text(PROGRAM + "evil\n")
    done = install(bin_folder, release / "install.sh")
    assert done.returncode == 1
    assert "does not have the SHA-256" in done.stderr
    assert not list(bin_folder.iterdir())


def test_program_that_does_not_run_replaces_nothing(release: Path, bin_folder: Path) -> None:
    (release / NAME).write_text("#!/bin/sh\nexit 1\n")
    write_sums(release)
    bin_folder.mkdir(parents=True)
    (bin_folder / "fetchml").write_text("older")
    done = install(bin_folder, release / "install.sh")
    assert done.returncode == 1
    assert "does not run on this machine" in done.stderr
    assert (bin_folder / "fetchml").read_text() == "older"


def test_release_for_other_machines(release: Path, bin_folder: Path) -> None:
    (release / NAME).rename(release / "fetchml-1.2.3-linux-pdp11")
    write_sums(release)
    done = install(bin_folder, release / "install.sh")
    assert done.returncode == 1
    assert f"no executable for {MACHINE}" in done.stderr


def test_without_a_release(bin_folder: Path) -> None:
    done = install(bin_folder)
    assert done.returncode == 1
    assert "set FETCHML_RELEASE" in done.stderr
    assert not bin_folder.exists()


def test_cut_script_does_nothing(release: Path, bin_folder: Path) -> None:
    text = SCRIPT.read_text()
    half = release / "install.sh"
    half.write_text(text[: text.rindex("main")])
    assert install(bin_folder, half).returncode == 0
    assert not bin_folder.exists()
