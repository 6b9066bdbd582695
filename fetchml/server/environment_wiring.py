"""Chooses the builder of environments by the settings."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fetchml.config.settings import Settings
from fetchml.environments.builds import Builds
from fetchml.environments.cache import EnvironmentCache
from fetchml.environments.environment_service import MISSING, BuilderSettings, Environments, find_uv
from fetchml.environments.sources import EnvironmentSources
from fetchml.files.layout import ENVIRONMENTS
from fetchml.files.storage_usage import StorageUsage
from fetchml.ports.launcher import Launcher
from fetchml.server.cannot_start import CannotStart
from fetchml.server.cluster_wiring import on_cluster
from fetchml.snapshots.files import SnapshotFiles

if TYPE_CHECKING:
    from fetchml.adapters.uv_command import UvOptions

_ON_CLUSTER = (
    "is not offered on a cluster: use an image or an environment module that has the packages"
)
_NO_NETWORK = (
    "can't be built: builds have no network, as tasks ([tasks] network), and there is no folder of "
    "packages ([environments] find_links)"
)


@dataclass(frozen=True, slots=True)
class EnvironmentWiring:
    """The parts that build the environments of one server."""

    builder: BuilderSettings | None = None
    why_none: str = "is not offered by this server"
    """The reason why there is no builder."""
    most_bytes: int = 1 << 60
    min_free_bytes: int = 0

    def make(
        self,
        data_dir: Path,
        usage: StorageUsage,
        clock: Callable[[], int],
    ) -> Environments:
        snapshots = SnapshotFiles(data_dir)
        cache = EnvironmentCache(data_dir.resolve() / ENVIRONMENTS, most_bytes=self.most_bytes)
        builds = Builds(
            self.builder.builder if self.builder is not None else None,
            cache,
            snapshots,
            min_free_bytes=self.min_free_bytes,
            clock=clock,
        )
        return Environments(
            EnvironmentSources(snapshots),
            cache,
            builds,
            self.builder,
            usage=usage,
            why_none=self.why_none,
        )


def environment_wiring(settings: Settings, launcher: Launcher) -> EnvironmentWiring:
    """Before the launcher's `open`. Raises CannotStart."""
    environments = settings.environments
    sizes = (environments.cache_bytes, settings.history.min_free_mb << 20)
    if on_cluster(settings):
        return EnvironmentWiring(None, _ON_CLUSTER, *sizes)
    uv = find_uv(environments.uv)
    if uv is None:
        if environments.uv is not None:
            raise CannotStart(
                f"[environments] uv {environments.uv} is not a file: install uv there"
            )
        return EnvironmentWiring(None, f"can't be built: {MISSING}", *sizes)
    return EnvironmentWiring(_builder(settings, launcher, uv), "", *sizes)


def _builder(settings: Settings, launcher: Launcher, uv: Path) -> BuilderSettings:
    from fetchml.adapters.uv_command import UvOptions  # noqa: PLC0415 - not on a cluster

    environments = settings.environments
    options = UvOptions(
        environments.index_url,
        _find_links(environments.find_links),
        _certificates(environments.certificates),
    )
    if settings.server.launcher == "process":
        from fetchml.adapters.process.environment_builder import ProcessEnvironmentBuilder  # noqa: PLC0415

        return BuilderSettings(
            ProcessEnvironmentBuilder(
                uv,
                options,
                root=settings.data_dir.resolve() / ENVIRONMENTS,
                timeout_seconds=environments.timeout_seconds,
            ),
            uv,
            _digest(options),
            None,
        )
    from fetchml.adapters.docker.environment_builder import BuildLimits  # noqa: PLC0415
    from fetchml.adapters.docker.launcher import DockerLauncher  # noqa: PLC0415

    assert isinstance(launcher, DockerLauncher)  # noqa: S101 - chosen by the same setting
    limits = BuildLimits(
        environments.cpu, environments.memory_gb, timeout_seconds=environments.timeout_seconds
    )
    builder = launcher.environment_builder(uv, options, limits)
    stuck = not builder.has_network and options.find_links is None
    return BuilderSettings(builder, uv, _digest(options), _NO_NETWORK if stuck else None)


def _find_links(setting: str | None) -> str | None:
    """Raises CannotStart."""
    if setting is None or "://" in setting:
        return setting
    folder = Path(setting).absolute()
    if not folder.is_dir():
        raise CannotStart(f"[environments] find_links {setting} is not a folder")
    return str(folder)


def _certificates(setting: Path | None) -> str | None:
    """Raises CannotStart."""
    if setting is None:
        path = os.environ.get("SSL_CERT_FILE", "")
        return path if path and Path(path).is_file() else None
    if not setting.is_file():
        raise CannotStart(f"[environments] certificates {setting} is not a file")
    return str(setting.absolute())


def _digest(options: "UvOptions") -> str:
    """Without the certificates: they lead to no other packages."""
    return hashlib.sha256(repr(options._replace(certificates=None)).encode()).hexdigest()
