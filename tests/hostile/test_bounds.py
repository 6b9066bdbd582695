"""The sum of all memory limits fits into what the service unit grants."""

import ast
import re
from pathlib import Path

import msgspec
import pytest

from fetchml.config.sections.server import MAX_CONNECTIONS, ServerSettings
from fetchml.config.settings import Settings
from fetchml.ops import bounds, systemd_unit
from fetchml.ops.checks import memory
from fetchml.system import memory_limits
from fetchml.views import Finding
from tests.support.validate import ROOT

GIB = 1 << 30
IN_ALL = re.compile(r"^(\w*IN_ALL\w*) *=", re.MULTILINE)
"""The name of such a constant."""
NO_MEMORY = {"usage.MAX_POINTS_IN_ALL"}
"""Those that limit the size of one reply."""


@pytest.mark.parametrize(
    ("launcher", "gib"),
    [("docker", systemd_unit.MEMORY_MAX_GIB), ("slurm", bounds.CLUSTER_GIB)],
)
def test_sum_of_all_memory_limits_fits_service_unit(launcher: str, gib: int) -> None:
    settings = Settings(server=msgspec.convert({"launcher": launcher}, ServerSettings))
    most = bounds.total_bytes(settings)
    assert most < gib << 30, bounds.memory_bounds(settings)


def test_sum_has_every_limit_on_all_callers() -> None:
    """A module whose constant limits what all callers hold is one that the sum imports."""
    package = ROOT / "fetchml"
    defined = {
        f"{file.stem}.{name}"
        for file in package.rglob("*.py")
        for name in IN_ALL.findall(file.read_text())
    }
    assert len(defined) > 10
    summed = ast.parse((package / "ops/bounds.py").read_text())
    used = {ast.unparse(node) for node in ast.walk(summed) if isinstance(node, ast.Attribute)}
    assert defined - used == NO_MEMORY


def test_page_of_clusters_has_the_sum() -> None:
    settings = Settings(server=msgspec.convert({"launcher": "slurm"}, ServerSettings))
    page = (ROOT / "docs/cluster.md").read_text()
    assert f"take {bounds.total_bytes(settings) / GIB:.1f} GiB of memory" in page
    assert f": {bounds.CLUSTER_GIB} GiB suffice." in page


def doctor_says(folder: Path, monkeypatch: pytest.MonkeyPatch, **given: int) -> Finding:
    """The finding of `fetchml doctor` on a host of 64 GiB. `given`: GiB of the server's control
    group, of the unit and of its drop-in; connections that the settings allow."""
    monkeypatch.setattr("fetchml.system.host.memory_mb", lambda: 64 << 10)
    limit = given.get("group")
    (folder / "self").mkdir()
    (folder / "self/cgroup").write_text("0::/a\n")
    (folder / "a").mkdir()
    (folder / "a/memory.max").write_text(f"{limit * GIB}\n" if limit else "max\n")
    of_process = memory_limits.of_process
    monkeypatch.setattr(memory_limits, "of_process", lambda pid: of_process(pid, folder, folder))
    data_dir = folder / "data"
    unit = folder / "fetchml.service"
    if "unit" in given:
        command = ("fetchml", "serve", "--data-dir", str(data_dir))
        text = systemd_unit.unit(command, data_dir=data_dir, docker=True, docker_group=True)
        ours = f"MemoryMax={systemd_unit.MEMORY_MAX_GIB}G\n"
        assert ours in text
        unit.write_text(text.replace(ours, f"MemoryMax={given['unit']}G\n"))
    if "drop_in" in given:
        (folder / "fetchml.service.d").mkdir()
        (folder / "fetchml.service.d/more.conf").write_text(f"MemoryMax={given['drop_in']}G\n")
    server = ServerSettings(max_connections=given.get("connections", MAX_CONNECTIONS))
    return memory.memory(Settings(data_dir=data_dir, server=server), unit)


@pytest.mark.parametrize(
    ("given", "ok", "source"),
    [
        ({}, True, "this host"),
        ({"group": 6}, True, "memory.max of the control group /a"),
        ({"group": 4}, False, "memory.max of the control group /a"),
        ({"group": 100}, True, "this host"),
        ({"unit": 6}, True, "MemoryMax of fetchml.service"),
        ({"unit": 2, "group": 1}, False, "MemoryMax of fetchml.service"),
        ({"unit": 2, "drop_in": 8}, True, "MemoryMax of fetchml.service"),
        ({"unit": 6, "connections": 20_000}, False, "MemoryMax of fetchml.service"),
        ({"connections": 2**31 - 1}, False, "this host"),
    ],
)
def test_doctor_compares_the_sum_with_what_the_server_gets(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, int],
    ok: bool,
    source: str,
) -> None:
    found = doctor_says(tmp_path, monkeypatch, **given)
    assert found.ok == ok, found
    assert found.finding.endswith(source), found
    assert ok or "max_connections" in (found.fix or "")
