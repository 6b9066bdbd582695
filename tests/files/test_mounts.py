"""The type of a folder's file system, by the kernel's table of mounts."""

from pathlib import Path

import pytest

from fetchml.files.shared_disk import is_local, kind_of

MOUNTS = """\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 27 0:26 / /shared rw,relatime shared:5 - nfs4 server:/export rw,vers=4.2
31 30 0:27 / /shared/fast rw - xfs /dev/vdb rw
32 27 0:28 / /with\\040blank rw master:1 propagate_from:2 - fuse.sshfs host: rw
33 27 0:29 / /hidden rw - ext4 /dev/vdc rw
34 33 0:30 / /hidden rw - beegfs none rw
36 27 0:32 / /home/a\u20287\x0b1\x1c0:1 rw - fuse.a a rw
37 27 0:33 / /home/b\u202838 27 0:34 / /shared rw - ext4 b rw
35 27 0:31
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/sharedness", "ext4"),
        ("/shared", "nfs4"),
        ("/shared/fast/tasks", "xfs"),
        ("/shared/faster", "nfs4"),
        ("/with blank/a", "fuse.sshfs"),
        ("/hidden/a", "beegfs"),
    ],
)
def test_the_longest_and_latest_mount_counts(path: str, kind: str) -> None:
    assert kind_of(path, MOUNTS) == kind


def test_unreadable_table_names_no_type() -> None:
    assert kind_of("/a", "\0\n\n - \nx - ext4") == ""


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/proc/self")
    assert not is_local(tmp_path / "link"), "/proc is no disk of this machine"
    assert is_local(Path("/dev/shm"))  # noqa: S108 - nothing is written there
