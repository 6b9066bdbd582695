"""Settings: sources, precedence, and errors of wrong values."""

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from fetchml.config.address import Address
from fetchml.config.data_dir import default_data_dir
from fetchml.config.loader import ConfigError, load
from fetchml.config.settings import Setting, VolumeSettings, all_settings

DOC = Path(__file__).parents[2] / "docs" / "configuration.md"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "fetchml.toml"


def test_settings_without_sources_have_their_defaults() -> None:
    settings = load(environment={})
    assert str(settings.server.http) == "127.0.0.1:9101"
    assert str(settings.server.grpc) == "127.0.0.1:9102"
    assert settings.tasks.command == ("python", "train.py")
    assert settings.tasks.max_running >= 4
    assert settings.resources.cpu >= 1


def test_flag_over_environment_over_file_over_default(file: Path) -> None:
    file.write_text('[server]\nhttp = "h:1"\ngrpc = "h:2"\nlog_format = "json"\n')
    settings = load(file, {"FETCHML_HTTP": "e:1", "FETCHML_GRPC": "e:2"}, {"http": "[::1]:0"})
    assert settings.server.http == Address("::1", 0)
    assert settings.server.grpc == Address("e", 2)
    assert settings.server.log_format == "json"
    assert settings.server.launcher == "docker"


def test_every_type_is_read_from_the_environment() -> None:
    settings = load(
        environment={
            "FETCHML_DATA_DIR": "/x",
            "FETCHML_TASKS_COMMAND": "sh -c 'a b'",
            "FETCHML_RATE_LIMIT_ENABLED": "false",
            "FETCHML_GPU_SLOTS": "3",
            "FETCHML_HISTORY_TIME_ZONE": "Europe/Berlin",
            "FETCHML_TASKS_IMAGE": "",
            "FETCHML_JUPYTER_IMAGES": "a=b:1 'c d=e=f'",
            "FETCHML_SLURM_USERS": "ada.account=physics ada.qos=high b.c.qos=low",
            "FETCHML_PUBLIC_URL": "https://gpu.example.org",
            "FETCHML_TRUSTED_PROXIES": "127.0.0.1 10.0.0.0/8",
        }
    )
    assert settings.data_dir == Path("/x")
    assert settings.tasks.command == ("sh", "-c", "a b")
    assert settings.rate_limit.enabled is False
    assert settings.gpu.slots == 3
    assert settings.jupyter.images == {"a": "b:1", "c d": "e=f"}
    assert settings.slurm.users == {
        "ada": {"account": "physics", "qos": "high"},
        "b.c": {"qos": "low"},
    }
    assert settings.server.public_url == "https://gpu.example.org"
    assert [str(each) for each in settings.server.trusted_proxies] == ["127.0.0.1/32", "10.0.0.0/8"]
    assert settings.history.time_zone == ZoneInfo("Europe/Berlin")
    assert settings.tasks.image == "python:3.12-slim", "an empty variable counts as not set"


def test_tables_of_users_are_read(file: Path) -> None:
    file.write_text('[slurm]\nallow = ["qos"]\n[slurm.users.ada]\nqos = "high"\n')
    assert load(file, {}).slurm.users == {"ada": {"qos": "high"}}
    with pytest.raises(ConfigError, match=r"NAME\.INNER=VALUE"):
        load(environment={"FETCHML_SLURM_USERS": "ada=x"})


def test_a_table_of_images_is_read(file: Path) -> None:
    file.write_text('[jupyter]\nidle_seconds = 0\n[jupyter.images]\n"a/b:1" = "c"\n')
    assert load(file, {}).jupyter.images == {"a/b:1": "c"}
    file.write_text('[jupyter.images]\n"a" = 1\n')
    with pytest.raises(ConfigError, match="images: expected str"):
        load(file, {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[tasks]\nimgae = "x"', "unknown setting [tasks] imgae; did you mean image?"),
        ('[task]\nimage = "x"', "unknown table [task]; did you mean [tasks]?"),
        ('image = "x"', "unknown setting image; did you mean [tasks] image?"),
        ("tasks = 1", "tasks is a table: write [tasks]"),
        ('[tasks]\nmax_retries = "1"', '[tasks] max_retries: expected int; it is "1"'),
        ("[tasks]\nmax_retries = true", "[tasks] max_retries: expected int; it is true"),
        ("[tasks]\nmax_retries = -1", "[tasks] max_retries: expected int >= 0; it is -1"),
        (
            '[server]\nlauncher = "k8s"',
            "[server] launcher: expected one of docker, process, slurm; it is",
        ),
        ('[server]\nhttp = "9101"', "[server] http: expected HOST:PORT"),
        ('[server]\nhttp = "h:65536"', "[server] http: expected HOST:PORT"),
        ('[server]\nhttp = "::1:80"', "[server] http: expected HOST:PORT"),
        ('[server]\ntrusted_proxies = ["me"]', "trusted_proxies: expected an address or a network"),
        ('[history]\ntime_zone = "Mars"', "[history] time_zone: expected a time zone"),
        ("data_dir = 1", "data_dir: expected text; it is 1"),
        ("[", "not TOML"),
    ],
)
def test_faults_in_the_file_are_named(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    assert str(caught.value).startswith(f"{file}: ")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("FETCHML_GPU_SLOTS", "1.5"),
        ("FETCHML_AUTH_PRIVATE", "yes"),
        ("FETCHML_TASKS_COMMAND", "'"),
        ("FETCHML_JUPYTER_IMAGES", "a=b c"),
        ("FETCHML_PUBLIC_URL", "https://gpu.example.org/path"),
        ("FETCHML_PUBLIC_URL", "gpu.example.org"),
        ("FETCHML_TRUSTED_PROXIES", "10.0.0.1/8"),
    ],
)
def test_faults_in_the_environment_are_named(variable: str, value: str) -> None:
    with pytest.raises(ConfigError, match=variable):
        load(environment={variable: value})


def test_a_missing_file_is_named(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"fetchml\.toml: cannot read it: No such file"):
        load(file, {})


def test_the_default_data_dir_follows_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert default_data_dir() == Path("/state/fetchml")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert default_data_dir() == Path("/var/lib/fetchml")


def test_the_document_describes_every_setting_and_no_other() -> None:
    rows = [line for line in DOC.read_text().splitlines() if line.startswith("| `")]
    assert rows == [
        f"| `{setting.name}` | {_variable(setting)} | {setting.default} | {setting.about} |"
        for setting in all_settings()
    ]


def _variable(setting: Setting) -> str:
    return f"`{setting.variable}`" if setting.variable else "none"


def test_volumes_are_tables_of_the_file(file: Path) -> None:
    file.write_text("""
[volumes.scratch]
path = "/srv/scratch"
mode = "rw"
users = ["ada"]
[volumes.data-1]
path = "/srv/data"
""")
    settings = load(file, {"FETCHML_VOLUMES": "/volumes"})
    assert settings.volumes == {
        "scratch": VolumeSettings(Path("/srv/scratch"), "rw", ("ada",)),
        "data-1": VolumeSettings(Path("/srv/data")),
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[volumes]\nscratch = 1", "expected"),
        ("[volumes.scratch]\nmode = 'rw'", "volumes.scratch: path is required"),
        (
            "[volumes.a]\npath = '/a'\nmode = 'w'",
            'volumes.a: mode: expected one of ro, rw; it is "w"',
        ),
        ("[volumes.a]\npath = '/a'\nmax_gb = 'x'", 'volumes.a: max_gb: expected int; it is "x"'),
        (
            "[volumes.a]\npath = '/a'\nuser = 'ada'",
            r"volumes.a: unknown setting user; did you mean users\?",
        ),
        ("[volumes.'../a']\npath = '/a'", "expected `?str"),
    ],
)
def test_faults_of_volumes_are_named(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load(file, {})
