"""Uploads of the tests of snapshots, and what is on the disk afterwards."""

from pathlib import Path

from fetchml.core.snapshots import Snapshot
from tests.support.archives import Member, file, packed, sent
from tests.support.engine_box import ALICE, Box

RUN = 'command = ["sh", "run.sh"]\n'
SLEEP = packed(file("fetchml.toml", b'command = ["sleep", "1000"]\n'))


async def upload(box: Box, *members: Member) -> Snapshot:
    return (await box.snapshots.upload(ALICE, sent(packed(*members))))[0]


def kept(box: Box) -> set[str]:
    return {path.name for path in (box.data_dir / "snapshots").iterdir()} - {".new"}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def half_done(box: Box) -> list[Path]:
    return list((box.data_dir / "snapshots/.new").iterdir())
