"""Files of an attempt's folder that a task has replaced: nothing blocks, and no reading is
unbounded."""

import errno
import os
import socket
from pathlib import Path

import pytest

from fetchml.adapters.slurm import start_files
from fetchml.adapters.slurm.job import Submission
from fetchml.files import untrusted
from fetchml.ports.launcher import LaunchSpec

FILES = (start_files.START, start_files.OUTPUT)
KINDS = ("link", "fifo", "folder", "socket")


def put(kind: str, path: Path) -> None:
    match kind:
        case "link":
            path.symlink_to("/dev/zero")
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case _:
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(path))


@pytest.fixture(params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    for name in FILES:
        put(request.param, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_attempt_with_spoilt_records_has_ended(tmp_path: Path, kind: str) -> None:
    """Taken for a fault of the disk, they would be read again for ever."""
    folder = tmp_path / "tasks/t/attempts/1"
    (folder / "run").mkdir(parents=True)
    for name in ("exit", "lease"):
        put(kind, folder / "run" / name)
    found = start_files.read(folder)
    assert (found.has_ended, found.end) == (True, None)


def test_draft_that_a_task_has_replaced_by_a_fifo_blocks_nothing(tmp_path: Path) -> None:
    run = LaunchSpec("t", 1, "job", tmp_path / "tasks/t/attempts/1", "", ("true",), {})
    run.folder.mkdir(parents=True)
    os.mkfifo(run.folder / start_files.DRAFT)
    request = Submission("job", "script", str(run.folder))
    with pytest.raises(OSError) as error:  # noqa: PT011 - its number is compared
        start_files.write(run, tmp_path / "shim", request, replaces=True)
    assert error.value.errno == errno.ENXIO


def test_replaced_files_are_not_read(folder: Path) -> None:
    assert start_files.output_end(folder) == ""
    with pytest.raises(OSError):  # noqa: PT011 - which one depends on the kind of file
        start_files.submission(folder)


def test_words_of_a_plugin_are_not_hidden_by_those_of_slurm(tmp_path: Path) -> None:
    (tmp_path / start_files.OUTPUT).write_text(
        "slurmstepd-g1: error: pyxis: failed to import docker image: a\n"
        "slurmstepd-g1: error: pyxis:     [ERROR] no such image\n"
        "slurmstepd-g1: error: spank: required plugin pyxis.so: task_init() failed with rc=-1\n"
        "slurmstepd-g1: error: Failed to invoke spank plugin stack\n"
        "srun: error: g1: task 0: Exited with exit code 1\n"
    )
    assert start_files.output_end(tmp_path) == (
        "pyxis: failed to import docker image: a pyxis: [ERROR] no such image"
    )
    (tmp_path / start_files.OUTPUT).write_text(f"srun: error: {'x' * 400} end")
    assert len(start_files.output_end(tmp_path)) == 300
    assert start_files.output_end(tmp_path).endswith(" end")


def test_start_file_that_was_not_written_to_its_end_means_no_job(tmp_path: Path) -> None:
    run = LaunchSpec("t", 1, "job", tmp_path / "tasks/t/attempts/1", "", ("true",), {})
    (tmp_path / "tasks").mkdir()
    request = Submission("job", "script", str(run.folder))
    start_files.write(run, tmp_path / "shim", request)
    assert start_files.was_prepared(run.folder)
    assert start_files.submission(run.folder) == request
    file = run.folder / start_files.START
    content = file.read_bytes()
    for length in (0, 10, content.index(b"\n") + 1, len(content) - 1):
        file.write_bytes(content[:length])
        assert not start_files.was_prepared(run.folder), length
    file.write_bytes(content + b"#")
    assert not start_files.was_prepared(run.folder)


def test_listing_of_records_is_bounded(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / str(number)).touch()
    assert len(untrusted.first_names(tmp_path, 10)) == 10
    (tmp_path / "link").symlink_to("/")
    with pytest.raises(OSError):  # noqa: PT011 - ENOTDIR or ELOOP
        untrusted.first_names(tmp_path / "link", 10)
