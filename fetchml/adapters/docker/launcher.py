"""Runs a task in a hardened container of a Docker engine.

The container's name has the task and the attempt, so that it is created only once. It is started
only once too, which the shim's claim of the attempt ensures again. The shim records the end; the
engine only adds what the shim cannot observe.
"""

import asyncio
import hashlib
import logging
import re
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from pathlib import Path
from signal import SIGKILL, SIGTERM, SIGUSR1

from fetchml import shim
from fetchml.adapters.container_mounts import RUN_FOLDER, SHIM_PATH
from fetchml.adapters.docker.cgroups import Cgroups, usage_of
from fetchml.adapters.docker.container_config import (
    DEFAULT_LIMITS,
    INSTANCE_LABEL,
    ContainerLimits,
    container_config,
    container_name,
    parse_user,
)
from fetchml.adapters.docker.container_exit import FirstProcess, exit_of, was_killed
from fetchml.adapters.docker.container_gpus import AddressOf, DockerGpus
from fetchml.adapters.docker.container_requests import (
    ImageMissing,
    begin,
    image_digest,
    inspect,
    list_attempts,
    remove,
    remove_ended,
    send_signal,
)
from fetchml.adapters.docker.engine import DockerEngine
from fetchml.adapters.docker.engine_http import EngineHttp, EngineRefused, EngineUnavailable
from fetchml.adapters.docker.environment_builder import BuildLimits, DockerEnvironmentBuilder
from fetchml.adapters.docker.helper import DockerHelper, exec_helper
from fetchml.adapters.docker.network import OWN, TaskNetwork
from fetchml.adapters.docker.pull import AS_NEEDED, Pulls, pull
from fetchml.adapters.shim_command import helper_command
from fetchml.adapters.uv_command import UvOptions
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.layout import SHIM
from fetchml.ports.launcher import (
    AttemptExit,
    ContainerImage,
    EnterError,
    LaunchSpec,
    PrepareError,
    RelayCommand,
    ResourceUse,
    SessionCommand,
)
from fetchml.system import processes

_log = logging.getLogger(__name__)
_NOTICES_END_SECONDS = 0.5
"""Longest time until the engine notices that a container has ended."""
_LOOK_AGAIN_SECONDS = 60
"""Interval of checks that find a container whose events were lost."""
_RETRY_SECONDS = 0.1
MAX_DIGESTS = 1_000
_CONTAINER_ID = re.compile("[0-9a-f]{64}")


class DockerLauncher:
    """`Launcher` for containers of one Docker engine."""

    name = "docker"

    def __init__(
        self,
        data_dir: Path,
        *,
        host: str | None = None,
        network: str = OWN,
        allow_metadata: bool = False,
        user: str = "auto",
        limits: ContainerLimits = DEFAULT_LIMITS,
        pulls: Pulls = AS_NEEDED,
        address_of: AddressOf = lambda _: None,
        gateway: Path | None = None,
    ) -> None:
        """`host` is as in DOCKER_HOST, by default from the environment; `network`, `allow_metadata`
        and `user` are as in the settings.
        `gateway` is the folder with the server's socket for tasks; `None` if they get none.
        `address_of` finds a GPU for an engine that identifies GPUs by number only.

        Raises ValueError for a malformed `user`.
        """
        self._data_dir = data_dir
        self._limits = limits
        self._network = TaskNetwork(network, allow_metadata=allow_metadata)
        self.owner = parse_user(user)
        self._pulls = pulls
        self._gateway = gateway
        self._engine = DockerEngine(host)
        self._gpus = DockerGpus(self._engine, address_of)
        self._begun: dict[str, asyncio.Future[None]] = {}
        """Containers that are being created and started, also after a cancellation."""
        self._cgroups = Cgroups()
        self._digests: dict[tuple[str, str], str | None] = {}
        """Digests of images by their id, and the name that a task has for them."""
        self._attempts: dict[str, tuple[str, int]] = {}
        """Task id and attempt of each container, by the container's id."""
        self._builder: DockerEnvironmentBuilder | None = None

    def environment_builder(
        self, uv: Path, options: UvOptions, limits: BuildLimits
    ) -> DockerEnvironmentBuilder:
        """Return what builds environments in containers like those of tasks. Before `open`."""
        self._builder = DockerEnvironmentBuilder(
            self._engine,
            self._network,
            self._provide_image,
            data_dir=self._data_dir,
            uv=uv,
            options=options,
            limits=limits,
        )
        return self._builder

    async def open(self, instance_id: str, on_available: Callable[[bool, str], None]) -> None:
        self._instance_id = instance_id
        self._network.open(instance_id)
        self._shim = await asyncio.to_thread(_install_shim, self._data_dir)
        await self._engine.open(f"{INSTANCE_LABEL}={instance_id}", on_available)

    async def prepare(
        self, run: LaunchSpec, progress: Callable[[str], None]
    ) -> ContainerImage | None:
        must_pull = self._pulls.when == "always" and AttemptFolder(run.folder).claim() is None
        while True:
            if not self._engine.is_available:
                progress("waiting for the Docker engine")
                await self._engine.available()
            try:
                if must_pull:
                    must_pull = not await self._pull(run.image, progress)
                    continue
                return await self._image(run, await self._begin(run))
            except EngineUnavailable:
                await asyncio.sleep(_RETRY_SECONDS)
            except ImageMissing:
                await self._provide_image(run.image, progress)
            except EngineRefused as error:
                raise PrepareError(
                    f"the Docker engine rejected the container: {error}",
                    permanent=error.status == HTTPStatus.BAD_REQUEST,
                ) from error
            except OSError as error:
                raise PrepareError(
                    f"cannot prepare the task: {error.strerror or error}", permanent=False
                ) from error

    async def wait(self, run: LaunchSpec) -> AttemptExit:
        name = await self._settled(run)
        folder = AttemptFolder(run.folder)
        connections = self._engine.connections
        with self._engine.watch(name) as changes, FirstProcess(changes.wake) as first:
            self._find_first_process(run, first)
            while True:
                end = folder.end()
                if end and first.has_ended and not was_killed(end):
                    return AttemptExit()
                if not first.runs:
                    try:
                        container = await self._engine.call(partial(inspect, name=name))
                    except EngineUnavailable:
                        if first.has_ended and folder.claim() is None:
                            return AttemptExit(
                                lost="the container exited before the command started"
                            )
                    else:
                        if container is None or not container["State"]["Running"]:
                            restarted = self._engine.connections > connections
                            return exit_of(folder, container, engine_restarted=restarted)
                        # Or the engine has not noticed the end yet, and reports it soon.
                        self._attempts[container["Id"]] = (run.task_id, run.attempt)
                        first.learn(container["State"]["Pid"], container["Id"])
                        self._cgroups.learn(container["State"]["Pid"], container["Id"])
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_AGAIN_SECONDS):
                        await changes.wait()

    async def warn(self, run: LaunchSpec) -> None:
        name = await self._settled(run)
        await self._engine.insist(partial(send_signal, name=name, number=SIGUSR1))

    async def stop(self, run: LaunchSpec) -> None:
        name = await self._settled(run)
        send = partial(send_signal, name=name, number=SIGTERM)
        folder = AttemptFolder(run.folder)
        while True:
            # The kernel drops a signal that a container's first process does not handle yet. The
            # shim that has claimed the attempt does.
            is_handled = folder.claim() is not None
            if not await self._engine.insist(send) or is_handled:
                return
            await asyncio.sleep(_RETRY_SECONDS)

    async def kill(self, run: LaunchSpec) -> None:
        name = await self._settled(run)
        await self._engine.insist(partial(send_signal, name=name, number=SIGKILL))

    async def usage(self, runs: Sequence[LaunchSpec]) -> list[ResourceUse | None]:
        by_attempt = {attempt: container for container, attempt in self._attempts.items()}
        containers = [by_attempt.get((run.task_id, run.attempt)) for run in runs]

        def read() -> list[ResourceUse | None]:
            return [usage_of(self._cgroups, each) if each else None for each in containers]

        return await asyncio.to_thread(read)

    async def enter(self, run: LaunchSpec, command: SessionCommand | RelayCommand) -> DockerHelper:
        request = partial(
            exec_helper,
            name=await self._settled(run),
            command=helper_command(SHIM_PATH, command, run_folder=RUN_FOLDER),
            env=command.env if isinstance(command, SessionCommand) else {},
        )
        try:
            return await self._engine.call_heavy(request)
        except EngineUnavailable as error:
            raise EnterError("no response from the Docker engine: try again later") from error

    async def remove(self, run: LaunchSpec) -> None:
        name = await self._settled(run)
        with self._engine.watch(name) as changes:
            # The engine notices an end a moment after the kernel. Killing an ended container would
            # cost it a process.
            if not await self._engine.insist(partial(remove_ended, name=name)):
                with suppress(TimeoutError):
                    async with asyncio.timeout(_NOTICES_END_SECONDS):
                        await changes.wait()
                await self._engine.insist(partial(remove, name=name))
        for container_id in self._containers(run):
            del self._attempts[container_id]

    async def clean(self, live: frozenset[tuple[str, int]]) -> None:
        label = f"{INSTANCE_LABEL}={self._instance_id}"
        containers = await self._engine.insist(partial(list_attempts, label=label))
        for container_id, attempt in containers:
            if attempt in live:
                self._attempts[container_id] = attempt
            else:
                name = container_name(*attempt)
                _log.warning("Removing a left-over container", extra={"container": name})
                await self._engine.insist(partial(remove, name=name))
        if self._builder is not None:
            await self._builder.clean(self._instance_id)

    def owner_of(self, pid: int) -> str | None:
        for container_id in _CONTAINER_ID.findall(processes.cgroups(pid)):
            if attempt := self._attempts.get(container_id):
                return attempt[0]
        return None

    async def close(self) -> None:
        await self._engine.close()

    async def _image(self, run: LaunchSpec, image_id: str | None) -> ContainerImage | None:
        """Raises EngineUnavailable."""
        if image_id is None:
            return None
        key = (image_id, run.image)
        if key not in self._digests:
            if len(self._digests) >= MAX_DIGESTS:
                self._digests.clear()
            self._digests[key] = await self._engine.call(
                partial(image_digest, image_id=image_id, name=run.image)
            )
        return ContainerImage(image_id, self._digests[key])

    async def _begin(self, run: LaunchSpec) -> str | None:
        """Create and start the container; return the id of its image. Continues when cancelled: a
        request cannot be withdrawn."""
        owner = self.owner if run.owner == "launcher" else run.owner
        config = container_config(
            run,
            instance_id=self._instance_id,
            shim=self._shim,
            network=self._network.name,
            sysctls=self._network.sysctls,
            user=owner,
            gpus=await self._gpus.grant(run.gpu_ids),
            limits=self._limits,
            gateway=self._gateway,
        )

        def created(container_id: str) -> None:
            self._attempts[container_id] = (run.task_id, run.attempt)

        images: list[str] = []
        name = container_name(run.task_id, run.attempt)
        cancelled = asyncio.Event()
        request = partial(
            begin,
            name=name,
            config=config,
            folder=AttemptFolder(run.folder),
            user=owner,
            secrets=run.secrets,
            cancelled=cancelled,
            created=created,
            inspected=lambda container: images.append(container["Image"]),
        )

        async def on_the_network(http: EngineHttp) -> None:
            await self._network.ensure(http)
            try:
                await request(http)
            except EngineRefused as error:
                if not self._network.is_missing(error):
                    raise
                await self._network.ensure(http)
                await request(http)

        begun = asyncio.ensure_future(self._engine.call_heavy(on_the_network))
        self._begun[name] = begun
        begun.add_done_callback(partial(self._forget_begun, name))
        try:
            await asyncio.shield(begun)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return images[-1] if images else None

    def _containers(self, run: LaunchSpec) -> list[str]:
        of_run = (run.task_id, run.attempt)
        return [container for container, attempt in self._attempts.items() if attempt == of_run]

    def _find_first_process(self, run: LaunchSpec, first: FirstProcess) -> None:
        for container_id in self._containers(run):
            if pid := self._cgroups.first_process(container_id):
                first.learn(pid, container_id)

    def _forget_begun(self, name: str, begun: asyncio.Future[None]) -> None:
        if self._begun.get(name) is begun:
            del self._begun[name]
        if not begun.cancelled():
            begun.exception()  # Its caller may have been cancelled.

    async def _settled(self, run: LaunchSpec) -> str:
        """Return the container's name, once no request is about to create it."""
        name = container_name(run.task_id, run.attempt)
        if name in self._begun:
            await asyncio.wait([self._begun[name]])
        return name

    async def _provide_image(self, image: str, progress: Callable[[str], None]) -> None:
        """Pull an image that is missing, as far as the engine is there. Raises PrepareError."""
        if self._pulls.when == "never":
            raise PrepareError(
                f"image {image} not found on this machine, and the server does not pull images "
                "([tasks] pull)",
                permanent=True,
            )
        await self._pull(image, progress)

    async def _pull(self, image: str, progress: Callable[[str], None]) -> bool:
        """False: the engine has gone away. Raises PrepareError."""
        loop = asyncio.get_running_loop()

        def post(sentence: str) -> None:
            loop.call_soon_threadsafe(progress, sentence)

        cancelled = threading.Event()
        try:
            await self._engine.call_long(
                partial(
                    pull,
                    image=image,
                    progress=post,
                    cancelled=cancelled,
                    with_credentials=self._pulls.with_credentials,
                )
            )
        except asyncio.CancelledError:
            cancelled.set()
            raise
        except EngineUnavailable:
            await asyncio.sleep(_RETRY_SECONDS)
            return False  # `prepare` waits for it and repeats the pull.
        return True


def _install_shim(data_dir: Path) -> Path:
    """Copy the shim into the data directory, from where the engine can mount it."""
    content = shim.path().read_bytes()
    target = data_dir / SHIM / hashlib.sha256(content).hexdigest()
    # After a power cut it may exist without its content.
    if not target.exists() or target.read_bytes() != content:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = target.with_suffix(".new")
        draft.write_bytes(content)
        draft.chmod(0o755)
        draft.rename(target)
    return target
