"""`fetchml submit --dir` on a folder that lists packages."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.environment_tasks import pinned, wheel
from tests.support.cli_server import Server

SHOW = "import os, tiny; print(tiny.WHAT, os.environ['FETCHML_ATTEMPT'])\n"
METADATA = '# /// script\n# dependencies = ["tiny"]\n# ///\n' + SHOW
PROJECT = '[project]\nname = "mine"\nversion = "1"\n'
LOCK = 'version = 1\nrequires-python = ">=3.9"\n'
EVERYTHING = {
    "train.py": METADATA,
    "other.py": SHOW,
    "pyproject.toml": PROJECT,
    "uv.lock": LOCK,
    "requirements.txt": "tiny\n",
}
SCRIPT = {"script": "train.py"}
LOCKED = {"project": "."}
LISTED = {"requirements": "requirements.txt"}


def folder_of(place: Path, files: dict[str, str]) -> str:
    place.mkdir()
    for name, text in files.items():
        (place / name).write_text(text)
    return str(place)


@pytest.fixture(params=["process", "docker"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A server that installs from a folder of wheels, under each launcher."""
    wheel(tmp_path / "wheels", "1.0")
    variables = {"FETCHML_ENVIRONMENTS_FIND_LINKS": str(tmp_path / "wheels")}
    if request.param == "docker":
        variables |= {
            "DOCKER_HOST": request.getfixturevalue("docker_engine").host,
            "FETCHML_TASKS_IMAGE": request.getfixturevalue("python_image"),
            "FETCHML_TASKS_NETWORK": "none",
            "FETCHML_ENVIRONMENTS_UV": str(request.getfixturevalue("static_uv")),
        }
    made = Server(tmp_path / "data", launcher=request.param, **variables).start()
    yield made
    assert made.stop() == 0


@pytest.mark.slow
def test_a_requirements_file_is_all_that_it_takes(either: Server, tmp_path: Path) -> None:
    files = {"train.py": SHOW, "requirements.txt": pinned("1.0").decode()}
    folder = folder_of(tmp_path / "code", files)
    ran = either.run("submit", "--dir", folder, "--wait", "--", "python", "train.py")
    assert ran.succeeded() == "tiny 1.0 1", ran.err
    assert "The task gets the packages of requirements.txt" in ran.err


@pytest.mark.parametrize(
    ("left_out", "command", "wanted"),
    [
        ((), "train.py", SCRIPT),
        ((), "other.py", LOCKED),
        (("uv.lock",), "other.py", LISTED),
        (("pyproject.toml",), "other.py", LISTED),
        (("uv.lock", "requirements.txt"), "other.py", None),
        (("uv.lock", "requirements.txt"), "train.py", SCRIPT),
    ],
)
def test_the_first_list_of_packages_is_taken(
    server: Server,
    tmp_path: Path,
    left_out: tuple[str, ...],
    command: str,
    wanted: dict[str, str] | None,
) -> None:
    files = {name: text for name, text in EVERYTHING.items() if name not in left_out}
    folder = folder_of(tmp_path / "code", files)
    ran = server.run("submit", "--hold", "--json", "--dir", folder, "--", "python", command)
    task = json.loads(ran.succeeded())
    assert task.get("environment") == wanted
    hint = {
        "script": "the packages of train.py",
        "project": "the packages of uv.lock",
        "requirements": "the packages of requirements.txt",
    }
    assert [text in ran.err for name, text in hint.items()] == [
        wanted is not None and name in wanted for name in hint
    ]
    server.run("cancel", task["id"]).succeeded()


@pytest.mark.parametrize(
    ("options", "project", "wanted"),
    [
        (("--environment", "none"), "", None),
        (("--environment", "requirements.txt"), "", LISTED),
        (("--image", "alpine"), "", None),
        ((), 'image = "alpine"\n', None),
        ((), 'environment = { requirements = "requirements.txt" }\n', LISTED),
        ((), 'command = ["python3", "train.py"]\n', SCRIPT),
    ],
)
def test_a_chosen_environment_or_image_comes_first(
    server: Server,
    tmp_path: Path,
    options: tuple[str, ...],
    project: str,
    wanted: dict[str, str] | None,
) -> None:
    folder = folder_of(tmp_path / "code", {**EVERYTHING, "fetchml.toml": project})
    asked = ("submit", "--hold", *options, "--dir", folder, "--", "python", "train.py")
    task_id = server.run(*asked).succeeded()
    assert server.json("show", task_id).get("environment") == wanted
    server.run("cancel", task_id).succeeded()


def test_packages_that_no_server_installs_are_reported(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "code", {"a.py": "print(1)", "requirements.txt": "tiny\n"})
    # Docker tasks without a network, and no folder of packages: nothing can be installed.
    server = Server(
        tmp_path / "data",
        launcher="docker",
        DOCKER_HOST=f"unix://{tmp_path}/none",
        FETCHML_TASKS_NETWORK="none",
    ).start()
    ran = server.run("submit", "--hold", "--json", "--dir", folder, "--", "python", "a.py")
    assert "environment" not in json.loads(ran.succeeded())
    assert "are not installed: this server offers no environments" in ran.err
    server.stop()
