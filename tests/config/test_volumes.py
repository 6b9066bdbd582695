"""The volumes of the settings: which start a server, and what the doctor reports."""

from pathlib import Path

import pytest

from fetchml.config.loader import ConfigError, load
from fetchml.config.settings import Settings
from fetchml.core.requests.volumes import Volume
from fetchml.ops.checks.host import volumes
from fetchml.server.cannot_start import CannotStart
from fetchml.server.volumes import volumes_of


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def settings(data_dir: Path, **paths: Path | str) -> Settings:
    file = data_dir.with_name("fetchml.toml")
    tables = [f"[volumes.{name}]\npath = '{path}'\nmode = 'rw'" for name, path in paths.items()]
    file.write_text("\n".join([f"data_dir = '{data_dir}'", *tables]))
    return load(file, {})


def test_links_are_resolved_at_the_start(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    found = volumes_of(settings(data_dir, scratch=tmp_path / "link", later=tmp_path / "missing"))
    assert found == {
        "scratch": Volume(str(tmp_path / "disk"), read_only=False),
        "later": Volume(str(tmp_path / "missing"), read_only=False),
    }


def test_limit_is_in_gib(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    file = tmp_path / "limited.toml"
    table = f"[volumes.scratch]\npath = '{tmp_path / 'disk'}'\nmode = 'rw'\nmax_gb = 3"
    file.write_text(f"data_dir = '{data_dir}'\n{table}")
    assert volumes_of(load(file, {}))["scratch"].max_bytes == 3 << 30
    [found] = volumes(load(file, {}))
    assert found.finding == f"{tmp_path / 'disk'} (rw), for every user, up to 3 GiB"
    file.write_text(f"data_dir = '{data_dir}'\n{table.replace('3', '-1')}")
    with pytest.raises(ConfigError, match="max_gb"):
        load(file, {})


def test_no_link_leads_to_a_forbidden_folder(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc")
    (tmp_path / "own").symlink_to(data_dir)
    for path, why in (
        (tmp_path / "link", "/etc is a folder of the system"),
        (tmp_path / "own", "lies in a folder of the server or contains one"),
        (tmp_path, "lies in a folder of the server or contains one"),
        ("/", "/ is a folder of the system"),
    ):
        with pytest.raises(CannotStart, match=why) as refused:
            volumes_of(settings(data_dir, scratch=path))
        assert str(refused.value).startswith("[volumes.scratch] path: ")


@pytest.mark.parametrize("through_a_link", [False, True])
@pytest.mark.parametrize("modes", [("ro", "rw"), ("rw", "ro"), ("rw", "rw")])
@pytest.mark.parametrize("inner", ["volume", "root"])
def test_folders_in_one_another_are_refused_if_tasks_write_there(
    data_dir: Path, tmp_path: Path, inner: str, modes: tuple[str, str], *, through_a_link: bool
) -> None:
    (tmp_path / "disk/inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk/inner")
    path = tmp_path / ("link" if through_a_link else "disk/inner")
    lines = [f"data_dir = '{data_dir}'"]
    tables = [f"[volumes.all]\npath = '{tmp_path / 'disk'}'\nmode = '{modes[0]}'"]
    if inner == "volume":
        tables.append(f"[volumes.part]\npath = '{path}'\nmode = '{modes[1]}'")
        settings_named = "[volumes.part] path ", " and [volumes.all] path "
    else:
        tables[0] = tables[0].replace("'ro'", "'rw'")
        tables.append(f"[datasets]\nroot = '{path}'")
        settings_named = "[volumes.all] path ", " and [datasets] root "
    file = tmp_path / "overlapping.toml"
    file.write_text("\n".join([*lines, *tables]))
    with pytest.raises(CannotStart, match="lie in one another") as refused:
        volumes_of(load(file, {}))
    message = str(refused.value)
    assert message.startswith(settings_named[0])
    assert settings_named[1] in message
    [found] = [check for check in volumes(load(file, {})) if not check.ok]
    assert found.fix == message


def test_folders_in_one_another_that_tasks_only_read_are_allowed(
    data_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "disk/inner").mkdir(parents=True)
    file = tmp_path / "read.toml"
    tables = [f"[volumes.{n}]\npath = '{tmp_path / n}'" for n in ("disk", "disk/inner")]
    tables[1] = tables[1].replace("disk/inner]", "inner]")
    # Of one folder some users may read, and others also write.
    both = f"[volumes.writers]\npath = '{tmp_path / 'other'}'\nmode = 'rw'"
    both += f"\n[volumes.readers]\npath = '{tmp_path / 'other'}'"
    root = f"[datasets]\nroot = '{tmp_path / 'disk'}'"
    file.write_text("\n".join([f"data_dir = '{data_dir}'", *tables, both, root]))
    assert set(volumes_of(load(file, {}))) == {"disk", "inner", "writers", "readers"}


def test_doctor_checks_each_volume(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    paths: dict[str, Path | str] = {"good": tmp_path / "disk", "missing": tmp_path / "none"}
    paths["system"] = "/etc"
    checks = {check.name: check for check in volumes(settings(data_dir, **paths))}
    assert [name for name, check in checks.items() if check.ok] == ["volume good"]
    assert checks["volume good"].finding == f"{tmp_path / 'disk'} (rw), for every user"
    assert checks["volume missing"].finding == f"{tmp_path / 'none'} is not a folder"
    assert "Name another folder in [volumes.system] path." in checks["volume system"].fix
