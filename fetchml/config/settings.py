"""All settings of the server: name, type, default and meaning, each in one place.

docs/configuration.md has the same table; a test compares the two.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import msgspec
from msgspec import Meta

from fetchml.config.data_dir import default_data_dir
from fetchml.config.sections.access import AccessSettings
from fetchml.config.sections.auth import AuthSettings, RateLimitSettings
from fetchml.config.sections.environments import EnvironmentSettings
from fetchml.config.sections.jupyter import JupyterSettings
from fetchml.config.sections.notifications import NotificationSettings
from fetchml.config.sections.scheduling import (
    GpuSettings,
    QuotaSettings,
    ResourceSettings,
    SchedulingSettings,
)
from fetchml.config.sections.server import ServerSettings
from fetchml.config.sections.slurm import SlurmSettings
from fetchml.config.sections.storage import DatasetSettings, HistorySettings, SnapshotSettings
from fetchml.config.sections.tasks import TaskSettings
from fetchml.config.sections.types import about
from fetchml.config.sections.volumes import VolumeName, VolumeSettings


class Settings(msgspec.Struct, frozen=True):
    data_dir: Annotated[
        Path,
        about(
            "Directory for everything that the server stores. One server per data directory.",
            default="`/var/lib/fetchml` if root or its owner runs the server, else "
            "`$XDG_STATE_HOME/fetchml` or `~/.local/state/fetchml`",
        ),
    ] = msgspec.field(default_factory=default_data_dir)
    volumes: Annotated[
        dict[VolumeName, VolumeSettings],
        about(
            "Host directories that tasks may mount. Each is a table `[volumes.NAME]` with `path`, "
            "`mode` (`ro` or `rw`), `users` and `max_gb` ([volumes](volumes.md)).",
            default="none",
        ),
    ] = msgspec.field(default_factory=dict)
    server: ServerSettings = ServerSettings()
    auth: AuthSettings = AuthSettings()
    rate_limit: RateLimitSettings = RateLimitSettings()
    tasks: TaskSettings = msgspec.field(default_factory=TaskSettings)
    resources: ResourceSettings = msgspec.field(default_factory=ResourceSettings)
    gpu: GpuSettings = GpuSettings()
    scheduling: SchedulingSettings = SchedulingSettings()
    quotas: QuotaSettings = QuotaSettings()
    datasets: DatasetSettings = DatasetSettings()
    snapshots: SnapshotSettings = SnapshotSettings()
    environments: EnvironmentSettings = EnvironmentSettings()
    jupyter: JupyterSettings = msgspec.field(default_factory=JupyterSettings)
    access: AccessSettings = AccessSettings()
    notifications: NotificationSettings = NotificationSettings()
    history: HistorySettings = HistorySettings()
    slurm: SlurmSettings = msgspec.field(default_factory=SlurmSettings)


class Setting(msgspec.Struct, frozen=True):
    """One setting, for the loader and the documentation."""

    table: str
    """Empty if the setting is at the top of the file."""
    name: str
    type: Any
    about: str
    default: str
    """As Markdown: in TOML, or in words if it depends on the host."""

    @property
    def is_tables(self) -> bool:
        """Whether it is a table of tables, such as `[volumes.NAME]`."""
        kind, *_ = get_args(self.type)
        types = get_args(kind) if get_origin(kind) is dict else ()
        return bool(types) and isinstance(types[1], type) and issubclass(types[1], msgspec.Struct)

    @property
    def variable(self) -> str:
        """The environment variable. For [server] its name leaves the table out. Empty for tables
        of tables, which only the file can have."""
        if self.is_tables:
            return ""
        parts = [self.name] if self.table in {"", "server"} else [self.table, self.name]
        return "_".join(["FETCHML", *parts]).upper()

    def __str__(self) -> str:
        return f"[{self.table}] {self.name}" if self.table else self.name


def all_settings() -> Iterator[Setting]:
    """Yield every setting, in the order of their definition."""
    for field in msgspec.structs.fields(Settings):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            for inner in msgspec.structs.fields(field.type):
                yield _setting(field.name, inner)
        else:
            yield _setting("", field)


def _setting(table: str, field: msgspec.structs.FieldInfo) -> Setting:
    metas = [meta for meta in get_args(field.type) if isinstance(meta, Meta)]
    about = next(meta for meta in metas if meta.description)
    default = (about.extra or {}).get("default") or f"`{_toml(field.default)}`"
    return Setting(table, field.name, field.type, str(about.description), str(default))


def _toml(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case tuple():
            return f"[{', '.join(_toml(item) for item in value)}]"
        case _:
            return f'"{value}"'
