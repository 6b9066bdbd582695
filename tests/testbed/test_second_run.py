"""build/run_tests.sh: failed tests run once more by themselves, and only in a bounded way."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import ran

ROOT = Path(__file__).parents[2]
ODD = ["a::b", "x[y", "a]b", "a b", "l\nm", "é", "-k", "'q\"", "$HOME", "*", ""]
HEAD = """
import os
import time
from pathlib import Path
import pytest

ALONE = "PYTEST_XDIST_WORKER" not in os.environ
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the script and this interpreter, and no tests yet."""
    (tmp_path / "build").mkdir()
    shutil.copy(ROOT / "build/run_tests.sh", tmp_path / "build")
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nasyncio_default_fixture_loop_scope = function\n"
    )
    programs = tmp_path / ".venv/bin"
    programs.mkdir(parents=True)
    for name, arguments in {"python": "", "pytest": "-m pytest"}.items():
        (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} {arguments} "$@"\n')
        (programs / name).chmod(0o755)
    return tmp_path


def run(project: Path, tests: str, **variables: str) -> subprocess.CompletedProcess[str]:
    (project / "test_it.py").write_text(HEAD + tests)
    environment = {**os.environ, "TEST_PROCESSES": "1", **variables}
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_CURRENT_TEST", "PYTEST_ADDOPTS"):
        environment.pop(name, None)
    return ran([project / "build/run_tests.sh", "-p", "no:asyncio"], cwd=project, env=environment)


def test_tests_of_any_name_pass_alone(project: Path) -> None:
    tests = f"""
@pytest.mark.parametrize("odd", {ODD!r})
def test_odd(odd):
    assert ALONE
"""
    done = run(project, tests)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(ODD)} passed" in done.stdout
    assert done.stderr.count("FLAKY (failed, then passed by itself; mend it): ") == len(ODD)
    assert (
        "FLAKY (failed, then passed by itself; mend it): test_it.py::test_odd[a::b]" in done.stderr
    )


def test_second_failure_counts(project: Path) -> None:
    done = run(project, "def test_fails():\n    assert False\n\ndef test_passes():\n    pass\n")
    assert done.returncode == 1
    assert "1 failed, 1 passed" in done.stdout
    assert "FLAKY" not in done.stderr


def test_many_failures_get_no_second_run(project: Path) -> None:
    tests = """
@pytest.mark.parametrize("number", range(21))
def test_it(number):
    assert ALONE
"""
    done = run(project, tests)
    assert done.returncode == 1
    assert "21 failed, more than the 20 that get a second run" in done.stderr


def test_second_run_ends_in_time(project: Path) -> None:
    tests = """
@pytest.fixture
def thing():
    yield
    Path("removed").touch()

def test_hangs(thing):
    assert ALONE
    Path("removed").unlink()
    Path("began").touch()
    time.sleep(600)
"""
    done = run(project, tests, MOST_SECONDS="20")
    assert done.returncode == 124, done.stdout + done.stderr
    assert (project / "began").exists()
    assert (project / "removed").exists()
    assert "FLAKY" not in done.stderr


def test_error_of_the_command_line_is_passed_on(project: Path) -> None:
    done = ran([project / "build/run_tests.sh", "--no-such-option"], cwd=project)
    assert done.returncode == 4
