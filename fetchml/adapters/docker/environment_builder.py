"""Runs uv in a container of the task's image, with the same user, network and hardening.

The container's output goes through the engine's log, which is bounded, and only its end is read.
"""

import asyncio
import hashlib
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from fetchml.adapters.docker.container_requests import create, inspect, remove
from fetchml.adapters.docker.engine import DockerEngine
from fetchml.adapters.docker.engine_http import EngineHttp, EngineRefused, EngineUnavailable
from fetchml.adapters.docker.network import TaskNetwork
from fetchml.adapters.uv_command import SCRIPT, UvOptions, variables
from fetchml.files.layout import ENVIRONMENTS
from fetchml.ports.environment_builder import (
    ENVIRONMENT,
    HOME,
    SOURCE,
    Build,
    BuildFailed,
    Platform,
)
from fetchml.ports.launcher import PrepareError
from fetchml.system import failpoints

BUILD_LABEL = "fetchml.build"
MAX_OUTPUT_BYTES = 64 * 1024
"""The end of the output, which is kept."""
_OUTPUT_LINES = 300
_LOOK_SECONDS = 0.1, 1.0
"""Polling interval of a build: initial and maximum."""
_MOUNT_PATH = "/environment"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""PATH of an image that sets none."""
_UV, _CACHE, _WHEELS = "/.fetchml/uv", "/.fetchml/cache", "/.fetchml/wheels"
_CERTIFICATES = "/.fetchml/certificates.pem"
_OOM_SCORE = 600
_RETRY_SECONDS = 0.1
_AWAY_SECONDS = 2.0
"""Longest wait for an unavailable engine when a container is removed."""


class BuildLimits(NamedTuple):
    """Limits of each build."""

    cpu: int = 2
    """Cores."""
    memory_gb: int = 4
    pids: int = 1024
    timeout_seconds: int = 1800


class DockerEnvironmentBuilder:
    """`EnvironmentBuilder` for containers of one Docker engine."""

    mount_path: str | None = _MOUNT_PATH

    def __init__(
        self,
        engine: DockerEngine,
        network: TaskNetwork,
        provide_image: Callable[[str, Callable[[str], None]], Awaitable[None]],
        *,
        data_dir: Path,
        uv: Path,
        options: UvOptions,
        limits: BuildLimits,
    ) -> None:
        """`provide_image` pulls a missing image, and raises PrepareError. A folder in
        `options.find_links` is mounted."""
        self._engine = engine
        self._network = network
        self._provide_image = provide_image
        self._data_dir = data_dir
        self._uv = uv
        self._limits = limits
        self.has_network = network.name != "none"
        links = options.find_links
        self._wheels = Path(links) if links is not None and "://" not in links else None
        if self._wheels is not None:
            options = options._replace(find_links=_WHEELS)
        self._certificates = Path(options.certificates) if options.certificates else None
        if self._certificates is not None:
            options = options._replace(certificates=_CERTIFICATES)
        self._variables = variables(options._replace(offline=not self.has_network))
        self._installing = asyncio.Lock()
        self._running: set[str] = set()
        """Names of containers."""
        self._instance_id = ""
        self._cleaned = asyncio.Event()

    async def open(self, instance_id: str) -> None:
        self._instance_id = instance_id

    async def earlier_ended(self) -> None:
        await self._cleaned.wait()

    async def clean(self, instance_id: str) -> None:
        """Remove containers of builds that are not under way. Once the engine has answered."""
        filters = json.dumps({"label": [f"{BUILD_LABEL}={instance_id}"]})
        query = {"all": "1", "filters": filters}
        containers = await self._engine.insist(
            lambda http: http.ask("GET", "/containers/json", query)
        )
        for each in containers:
            name = str(each["Names"][0]).lstrip("/")
            if name not in self._running:
                await self._engine.insist(partial(remove, name=name))
        self._cleaned.set()

    async def platform(self, image: str, progress: Callable[[str], None]) -> Platform:
        path = f"/images/{quote(image, safe='/:@')}/json"
        while True:
            await self._available(progress)
            try:
                image_info = await self._engine.call(lambda http: http.ask("GET", path))
            except EngineUnavailable:
                await asyncio.sleep(_RETRY_SECONDS)
            except EngineRefused as error:
                if error.status != HTTPStatus.NOT_FOUND:
                    message = f"the Docker engine rejected the image: {error}"
                    raise PrepareError(message, permanent=False) from error
                await self._provide_image(image, progress)
            else:
                return _platform(image_info)

    async def build(self, build: Build, progress: Callable[[str], None]) -> None:
        name = f"fetchml-build-{build.name}"
        self._running.add(name)
        try:
            async with self._installing:
                uv = await asyncio.to_thread(_install_uv, self._uv, self._data_dir)
            while True:
                await self._available(progress)
                # The engine may have lost the container: uv continues with what is there. The time
                # without an engine does not count.
                with suppress(EngineUnavailable):
                    async with asyncio.timeout(self._limits.timeout_seconds):
                        return await self._run(name, self._config(build, uv), progress)
                await asyncio.sleep(_RETRY_SECONDS)
        except TimeoutError:
            why = (
                f"timed out after {self._limits.timeout_seconds} s ([environments] timeout_seconds)"
            )
            raise BuildFailed(None, b"", why=why) from None
        except EngineRefused as error:
            message = f"the Docker engine rejected the build of the environment: {error}"
            permanent = error.status == HTTPStatus.BAD_REQUEST
            raise PrepareError(message, permanent=permanent) from error
        finally:
            # Also when it was cancelled: nothing may write to the folder any more.
            await self._remove(name)
            self._running.discard(name)

    async def close(self) -> None:
        """Builds end with the calls that run them."""

    async def _available(self, progress: Callable[[str], None]) -> None:
        if not self._engine.is_available:
            progress("waiting for the Docker engine")
            await self._engine.available()

    async def _remove(self, name: str) -> None:
        removing = asyncio.ensure_future(self._remove_if_it_answers(name))
        while not removing.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({removing})
        removing.result()

    async def _remove_if_it_answers(self, name: str) -> None:
        """Remove a container. If the engine is unavailable, leave it to `clean`: the server may
        be stopping."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_AWAY_SECONDS):
                    await self._engine.available()
            if not self._engine.is_available:
                return
            with suppress(EngineUnavailable):
                await self._engine.call(partial(remove, name=name))
                return
            await asyncio.sleep(_RETRY_SECONDS)

    async def _run(
        self, name: str, config: Mapping[str, Any], progress: Callable[[str], None]
    ) -> None:
        """Raises BuildFailed, EngineUnavailable, EngineRefused."""
        await self._engine.call(partial(remove, name=name))

        async def start(http: EngineHttp) -> None:
            await self._network.ensure(http)
            try:
                await create(http, name=name, config=config)
            except EngineRefused as error:
                if not self._network.is_missing(error):
                    raise
                await self._network.ensure(http)
                await create(http, name=name, config=config)
            failpoints.reach("environment_created")
            await http.ask("POST", f"/containers/{name}/start")
            failpoints.reach("environment_started")

        await self._engine.call_heavy(start)
        pause, shown = _LOOK_SECONDS[0], ""
        while True:
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, _LOOK_SECONDS[1])
            container = await self._engine.call(partial(inspect, name=name))
            if container is None:
                raise EngineUnavailable
            if not container["State"]["Running"]:
                break
            lines = (await self._output(name, 1)).decode(errors="replace").split("\n")
            if lines and lines[0].strip() not in ("", shown):
                shown = lines[0].strip()
                progress(shown)
        state = container["State"]
        if state["OOMKilled"]:
            why = f"out of memory ({self._limits.memory_gb} GiB, [environments] memory_gb)"
            raise BuildFailed(None, b"", why=why)
        if state["ExitCode"]:
            raise BuildFailed(state["ExitCode"], await self._output(name, _OUTPUT_LINES))

    async def _output(self, name: str, lines: int) -> bytes:
        query = {"stdout": "1", "stderr": "1", "tail": str(lines)}
        path = f"/containers/{name}/logs"
        output = await self._engine.call(lambda http: http.read(path, query, 4 * MAX_OUTPUT_BYTES))
        return _without_frames(output)[-MAX_OUTPUT_BYTES:]

    def _config(self, build: Build, uv: Path) -> Mapping[str, Any]:
        targets = {
            SOURCE: f"/.fetchml/{SOURCE}",
            HOME: f"/.fetchml/{HOME}",
            ENVIRONMENT: _MOUNT_PATH,
        }
        mounts = [_bind(build.folder / name, target) for name, target in targets.items()]
        mounts += [_bind(build.cache, _CACHE), _bind(uv, _UV, read_only=True)]
        if self._wheels is not None:
            mounts.append(_bind(self._wheels, _WHEELS, read_only=True))
        if self._certificates is not None:
            mounts.append(_bind(self._certificates, _CERTIFICATES, read_only=True))
        environment = {
            **self._variables,
            "HOME": targets[HOME],
            "TMPDIR": targets[HOME],
            "UV_CACHE_DIR": _CACHE,
            "BUILD_UV": _UV,
            "BUILD_SOURCE": targets[SOURCE],
            "BUILD_ENVIRONMENT": _MOUNT_PATH,
            "BUILD_KIND": build.kind,
            "BUILD_PATH": build.path,
        }
        memory = self._limits.memory_gb << 30
        owner = build.owner
        return {
            "Image": build.image,
            "Entrypoint": ["sh", "-c"],
            "Cmd": [SCRIPT],
            "WorkingDir": targets[SOURCE],
            "User": f"{owner[0]}:{owner[1]}" if owner else "",
            "Env": [f"{name}={value}" for name, value in environment.items()],
            "Labels": {BUILD_LABEL: self._instance_id},
            "Healthcheck": {"Test": ["NONE"]},
            "HostConfig": {
                "AutoRemove": False,
                "CapDrop": ["ALL"],
                "Init": True,
                "IpcMode": "private",
                "LogConfig": {
                    "Type": "json-file",
                    "Config": {"max-size": "1m", "max-file": "1"},
                },
                "Memory": memory,
                "MemorySwap": memory,
                "Mounts": mounts,
                "NanoCpus": min(self._limits.cpu, (os.cpu_count() or 1)) * 10**9,
                "NetworkMode": self._network.name,
                "OomScoreAdj": _OOM_SCORE,
                "PidsLimit": self._limits.pids,
                "ReadonlyRootfs": True,
                "RestartPolicy": {"Name": "no"},
                "SecurityOpt": ["no-new-privileges:true"],
                "Sysctls": self._network.sysctls,
                "Tmpfs": {"/tmp": "rw,exec,nosuid,nodev,mode=1777,size=256m"},  # noqa: S108
            },
        }


def _platform(image_info: Mapping[str, Any]) -> Platform:
    config = image_info.get("Config") or {}
    path = next((line[5:] for line in config.get("Env") or () if line.startswith("PATH=")), _PATH)
    return Platform(
        f"{image_info.get('Os')}/{image_info.get('Architecture')} {image_info['Id']}", path or _PATH
    )


def _without_frames(stream: bytes) -> bytes:
    """Join the output of a container, which the engine sends in frames: a header of eight bytes
    with the length in its second half, then the data."""
    parts, at = [], 0
    while at + 8 <= len(stream):
        size = int.from_bytes(stream[at + 4 : at + 8], "big")
        parts.append(stream[at + 8 : at + 8 + size])
        at += 8 + size
    return b"".join(parts)


def _install_uv(uv: Path, data_dir: Path) -> Path:
    """Copy uv into the data directory, from where the engine can mount it."""
    status = uv.stat()
    name = hashlib.sha256(f"{uv} {status.st_size} {status.st_mtime_ns}".encode()).hexdigest()
    target = data_dir / ENVIRONMENTS / "uv" / name[:16]
    if not target.exists() or target.stat().st_size != status.st_size:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = target.with_suffix(".new")
        draft.write_bytes(uv.read_bytes())
        draft.chmod(0o755)
        draft.rename(target)
    return target


def _bind(source: Path, target: str, *, read_only: bool = False) -> Mapping[str, Any]:
    return {"Type": "bind", "Source": str(source), "Target": target, "ReadOnly": read_only}
