"""Reading a snapshot's files where the disk, or the server's descriptors, are at their end."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from fetchml.core.model import Environment
from fetchml.ports.launcher import PrepareError
from fetchml.snapshots.files import SnapshotFiles
from tests.environments.bench import Bench
from tests.support.waiting import soon

WANTED = Environment(requirements="requirements.txt")


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO])
async def test_fault_of_the_disk_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    bench = Bench(tmp_path)
    code = bench.snapshot(requirements_txt=b"a==1\n")

    def fails(*_: Any) -> Any:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as broken:
        broken.setattr(SnapshotFiles, "open_file", fails)
        fault = await soon(bench.environments.fault("bob", code, WANTED))
        assert fault == f"cannot be read: {os.strerror(number)}"
        with pytest.raises(PrepareError) as raised:
            await soon(bench.provide(bench.task("t", code)))
        assert not raised.value.permanent
    assert await soon(bench.environments.fault("bob", code, WANTED)) is None
    assert await soon(bench.provide(bench.task("t", code))) == "installed"
