"""Files of an attempt's folder that a task has replaced: nothing blocks, and no reading is
unbounded."""

import os
from pathlib import Path

import pytest

from fetchml.adapters.slurm import start_files
from fetchml.files import untrusted

FILES = (start_files.JOBS, start_files.OUTPUT, start_files.SUBMISSION)


@pytest.fixture(params=["link", "fifo", "folder"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    for name in FILES:
        match request.param:
            case "link":
                (tmp_path / name).symlink_to("/dev/zero")
            case "fifo":
                os.mkfifo(tmp_path / name)
            case _:
                (tmp_path / name).mkdir()
    return tmp_path


def test_replaced_files_are_not_read(folder: Path) -> None:
    assert start_files.output_end(folder) == ""
    for read in (start_files.jobs, start_files.submission):
        with pytest.raises(OSError):  # noqa: PT011 - which one depends on the kind of file
            read(folder)
    with pytest.raises(OSError):  # noqa: PT011
        start_files.note_job(folder, 7)


def test_last_of_many_jobs_are_known(tmp_path: Path) -> None:
    for number in range(1000, 2000):
        start_files.note_job(tmp_path, number)
    known = start_files.jobs(tmp_path)
    assert known[-10:] == list(range(1990, 2000))
    assert len(known) < 100
    (tmp_path / start_files.JOBS).write_text("\u0663 x -1 " + "9" * 50 + " 8\n")
    assert start_files.jobs(tmp_path) == [8]


def test_listing_of_records_is_bounded(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / str(number)).touch()
    assert len(untrusted.first_names(tmp_path, 10)) == 10
    (tmp_path / "link").symlink_to("/")
    with pytest.raises(OSError):  # noqa: PT011 - ENOTDIR or ELOOP
        untrusted.first_names(tmp_path / "link", 10)
