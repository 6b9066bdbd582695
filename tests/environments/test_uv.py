"""Where the server finds uv."""

import subprocess
import sys
from pathlib import Path

import pytest

from fetchml.environments.environment_service import UvVersion, find_uv


def program(file: Path, version: str = "uv 1.2.3") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\necho {version}\n")
    file.chmod(0o755)
    return file


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, Path]:
    """A uv that is set, one beside Python, and one on PATH."""
    beside = program(tmp_path / "venv/bin/uv")
    monkeypatch.setattr(sys, "executable", str(beside.with_name("python")))
    on_path = program(tmp_path / "path/uv")
    monkeypatch.setenv("PATH", f"{tmp_path}/none:{on_path.parent}")
    return program(tmp_path / "set/uv"), beside, on_path


def test_the_setting_then_beside_python_then_path(places: tuple[Path, Path, Path]) -> None:
    chosen, beside, on_path = places
    assert find_uv(chosen) == chosen
    assert find_uv(None) == beside
    beside.unlink()
    assert find_uv(None) == on_path
    on_path.unlink()
    assert find_uv(None) is None


def test_a_setting_without_a_file_is_not_replaced_by_another(
    places: tuple[Path, Path, Path],
) -> None:
    assert find_uv(places[0].with_name("missing")) is None
    assert find_uv(places[0].parent) is None, "a folder"


def test_the_executable_takes_that_of_the_host(
    places: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside it, in its temporary folder, is no uv of its user's."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert find_uv(None) == places[2]


def test_a_relative_path_stays_valid_in_another_folder(
    places: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_uv(Path("set/uv")) == places[0]
    places[1].unlink()
    monkeypatch.setenv("PATH", "path")
    assert find_uv(None) == places[2]


def test_a_file_that_may_not_be_run_is_passed_over_on_path(
    places: tuple[Path, Path, Path],
) -> None:
    places[1].unlink()
    places[2].chmod(0o644)
    assert find_uv(None) is None


async def test_the_version_is_asked_for_again_after_an_update(tmp_path: Path) -> None:
    uv = program(tmp_path / "uv", "uv 1.0.0")
    version = UvVersion(uv)
    assert await version.get() == "uv 1.0.0"
    program(uv, "uv 2.0.0")
    assert await version.get() == "uv 2.0.0"
    uv.unlink()
    with pytest.raises(FileNotFoundError):
        await version.get()
    uv.write_text("#!/bin/sh\nexit 3\n")
    uv.chmod(0o755)
    with pytest.raises(subprocess.SubprocessError):
        await version.get()


async def test_the_real_uv_is_the_one_that_was_installed_with_fetchml() -> None:
    found = find_uv(None)
    assert found == Path(sys.executable).with_name("uv")
    assert (await UvVersion(found).get()).startswith("uv ")
