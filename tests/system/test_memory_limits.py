"""The memory that control groups leave a process, with the kernel's files as a folder."""

from pathlib import Path

import pytest

from fetchml.system.memory_limits import MemoryLimit, of_process

GIB = 1 << 30
UNIT = "/system.slice/fetchml.service"


def box(folder: Path, line: str, files: dict[str, str]) -> MemoryLimit | None:
    """The limit of a process with this line in its `cgroup`, and these files of groups."""
    (folder / "proc/7").mkdir(parents=True)
    (folder / "proc/7/cgroup").write_text(f"3:cpu:/x\n{line}\n")
    for path, content in files.items():
        file = folder / "cgroup" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{content}\n")
    return of_process(7, folder / "proc", folder / "cgroup")


@pytest.mark.parametrize(
    ("line", "files", "limit"),
    [
        (f"0::{UNIT}", {f"{UNIT[1:]}/memory.max": str(6 * GIB)}, (6, "memory.max", UNIT)),
        (f"0::{UNIT}", {f"{UNIT[1:]}/memory.max": "max"}, None),
        (f"0::{UNIT}", {}, None),
        (
            f"0::{UNIT}",
            {f"{UNIT[1:]}/memory.max": "max", "system.slice/memory.max": str(4 * GIB)},
            (4, "memory.max", "/system.slice"),
        ),
        ("0::/", {"memory.max": str(2 * GIB)}, (2, "memory.max", "/")),
        ("0::/../../other", {"other/memory.max": str(GIB)}, (1, "memory.max", "/other")),
        (
            "4:cpuset,memory:/docker/a",
            {"memory/docker/a/memory.limit_in_bytes": str(3 * GIB)},
            (3, "memory.limit_in_bytes", "/docker/a"),
        ),
        ("4:memory:/a", {"memory/a/memory.limit_in_bytes": str(2**63 - 4096)}, None),
    ],
)
def test_the_lowest_limit_of_all_groups_counts(
    tmp_path: Path, line: str, files: dict[str, str], limit: tuple[int, str, str] | None
) -> None:
    found = box(tmp_path, line, files)
    if limit is None:
        assert found is None
        return
    gib, name, group = limit
    assert found == MemoryLimit(gib * GIB, f"{name} of the control group {group}")


def test_process_that_is_gone_has_no_limit(tmp_path: Path) -> None:
    assert of_process(7, tmp_path, tmp_path) is None
