"""What a server with the capabilities of the systemd unit does with them, apart from containers."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fetchml.system.capabilities import HAND_OVER, may_hand_over
from tests.support.other_user import as_service, as_user

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
UID, TASK = 4321, 1_900_000
CHILD = """
import subprocess, sys
from fetchml.system import capabilities
getattr(capabilities, sys.argv[1])()
print(capabilities.may_hand_over())
subprocess.run(["grep", "Cap[^B]", "/proc/self/status"], check=True)
"""
GIVE = f"""
import sys
from pathlib import Path
from fetchml.jupyter.workspaces import FolderWalk
with FolderWalk(Path(sys.argv[1])) as walk:
    walk.enter("notebooks", make=True)
    print(*walk.hand_over(({TASK}, {TASK})))
"""


def python(script: str, *words: str, capabilities: bool = True) -> list[str]:
    command = [sys.executable, "-c", script, *words]
    ran = subprocess.run(
        as_service(UID, HAND_OVER, *command) if capabilities else as_user(UID, *command),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return ran.stdout.split()


@pytest.fixture
def root() -> Iterator[Path]:
    """Of Jupyter workspaces, of which `notebooks` is from a server without capabilities."""
    folder = Path(tempfile.mkdtemp(prefix="fetchml-capabilities-"))
    (folder / "notebooks/deep").mkdir(parents=True)
    (folder / "notebooks/deep/a.ipynb").touch()
    (folder / "notebooks/link").symlink_to(folder / "other")
    (folder / "other").touch()
    for path in (folder, *folder.rglob("*")):
        os.chown(path, UID, UID, follow_symlinks=False)
    (folder / "notebooks/deep").chmod(0)
    (folder / "notebooks/root").touch()
    yield folder
    shutil.rmtree(folder)


def test_root_may_hand_over_files() -> None:
    assert may_hand_over()
    assert may_hand_over(os.getpid())


@pytest.mark.parametrize(("how", "has"), [("keep_from_children", "True"), ("drop_all", "False")])
def test_programs_that_are_started_have_none(how: str, has: str) -> None:
    may, *sets = python(CHILD, how)
    found = dict(zip(sets[::2], sets[1::2], strict=True))
    inherited = {"keep_from_children": "000000000000000b", "drop_all": 16 * "0"}[how]
    assert may == has
    assert found.pop("CapInh:") == inherited  # worth nothing without a file that has it too
    assert found == dict.fromkeys(["CapPrm:", "CapEff:", "CapAmb:"], 16 * "0")


def test_without_them_no_file_is_handed_over() -> None:
    assert python(CHILD, "keep_from_children", capabilities=False)[0] == "False"


def test_an_old_workspace_goes_to_its_user_whole(root: Path) -> None:
    for _ in range(2):
        assert python(GIVE, str(root)) == [str(TASK), str(TASK)]
    workspace = root / "notebooks"
    owners = {path.name: path.lstat().st_uid for path in (workspace, *workspace.rglob("*"))}
    assert owners.pop("root") == 0
    assert set(owners) == {"notebooks", "deep", "a.ipynb", "link"}
    assert set(owners.values()) == {TASK}
    assert (root / "other").stat().st_uid == UID
