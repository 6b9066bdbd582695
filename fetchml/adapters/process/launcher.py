"""Runs a task as a plain process of the server's own user: for laptops, demos, hosts without
Docker.

There is no isolation: a task can do anything that the server's user can.
"""

import asyncio
import logging
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from signal import SIGKILL, SIGTERM, SIGUSR1

from fetchml.adapters.linked_folders import link_folders, linked_folders
from fetchml.adapters.process.helper import ProcessHelper, attach, start_helper
from fetchml.adapters.process.process_usage import Root, usage_of
from fetchml.adapters.shim_command import (
    NO_ROOM_TO_START,
    VOLUME_REPLACED,
    helper_command,
    shim_command,
)
from fetchml.files import secrets_file, untrusted
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.attempt_records import Claim
from fetchml.files.folder_events import FolderEvents
from fetchml.files.layout import DATASETS, TASKS, VOLUMES
from fetchml.ports.launcher import (
    AttemptExit,
    EnterError,
    LaunchSpec,
    Owner,
    PrepareError,
    RelayCommand,
    ResourceUse,
    SessionCommand,
)
from fetchml.ports.task_environment import (
    PROCESS_DEFAULTS,
    WORKSPACE,
    environment,
    process_gpus,
)
from fetchml.shim import NO_ROOM, WRONG_VOLUME, PinnedShim, UnsupportedMachineError
from fetchml.system import processes

_log = logging.getLogger(__name__)
_OOM_SCORE = "500"
_KILL_SECONDS = 2.0
"""Time for a shim to record the end and exit, once its command was killed."""
_GENERATIONS = 100
"""Maximum number of a process's ancestors that are checked."""
_NO_SHIM = "Cannot start the shim, which starts every task"
_DOES_NOT_RUN = "the task is not running"
_UNREMARKABLE_EXITS = (None, 120, 143, -SIGTERM, -SIGKILL)
"""Exits of a shim without a claim: not our child; too late; stopped at the gate, or before it
handled signals; killed at the gate."""


class ProcessLauncher:
    """`Launcher` for plain processes. Tasks continue without the server that started them.

    A later server finds the shim by the attempt's claim, and the attempt's other processes by their
    environment: `FETCHML_WORKSPACE` is unique to an attempt.
    """

    name = "process"

    def __init__(self, data_dir: Path, watch: FolderEvents) -> None:
        self._tasks = data_dir / TASKS
        self._watch = watch
        self.owner: Owner = (os.geteuid(), os.getegid())
        self._children: dict[Path, subprocess.Popen[bytes]] = {}
        """Shims that this server started, by their attempt's folder."""
        self._helpers: dict[Path, set[ProcessHelper]] = {}
        """By their attempt's folder."""
        self._shim: PinnedShim | None = None

    async def open(self, instance_id: str, on_available: Callable[[bool, str], None]) -> None:
        _log.warning(
            "The process launcher isolates nothing: a task can read and change all that this "
            "server's user can. Use the docker launcher where others submit tasks."
        )
        try:
            self._shim = await asyncio.to_thread(PinnedShim)
        except (UnsupportedMachineError, OSError, subprocess.SubprocessError) as error:
            on_available(False, f"{_NO_SHIM}: {error}. Fix this, then restart the server")
        else:
            on_available(True, "Tasks run as plain processes, without isolation")

    async def prepare(self, run: LaunchSpec, progress: Callable[[str], None]) -> None:
        if self._shim is None:
            progress(_NO_SHIM)
            await asyncio.Event().wait()  # The next server's launcher may have one.
            return
        try:
            self._prepare(run, AttemptFolder(run.folder), self._shim)
        except OSError as error:
            raise PrepareError(
                f"cannot prepare the task: {error.strerror or error}", permanent=False
            ) from error

    async def wait(self, run: LaunchSpec) -> AttemptExit:
        ended = await self._wait(run)
        if helpers := self._helpers.get(run.folder):
            await asyncio.gather(*(helper.close() for helper in list(helpers)))
            await _kill_all(AttemptFolder(run.folder))
        return ended

    async def enter(self, run: LaunchSpec, command: SessionCommand | RelayCommand) -> ProcessHelper:
        folder = AttemptFolder(run.folder)
        if self._shim is None or not _runs(folder):
            raise EnterError(_DOES_NOT_RUN)
        try:
            child, streams = start_helper(
                helper_command(self._shim.name, command, run_folder=folder.run),
                executable=self._shim.executable,
                cwd=folder.workspace,
                env=_environment(run)
                | (dict(command.env) if isinstance(command, SessionCommand) else {}),
            )
        except OSError as error:
            raise EnterError(f"cannot start the shim: {error.strerror or error}") from error
        helper = await attach(child, streams)
        others = self._helpers.setdefault(run.folder, set())
        others -= {other for other in others if other.has_ended}
        others.add(helper)
        if not _runs(folder):  # Then `wait` may have looked for helpers already.
            await helper.close()
            raise EnterError(_DOES_NOT_RUN)
        return helper

    async def _wait(self, run: LaunchSpec) -> AttemptExit:
        folder = AttemptFolder(run.folder)
        claim = await self._claim(folder)
        status = self._reap(run)
        if claim is None or claim.revoked:
            if claim or status in _UNREMARKABLE_EXITS:
                return AttemptExit()
            if status == NO_ROOM:
                return NO_ROOM_TO_START
            if status == WRONG_VOLUME:
                return VOLUME_REPLACED
            return AttemptExit(
                lost=f"the shim failed before it started the command (exit {status})"
            )
        with _shim(claim) as shims:
            await processes.wait_ended(shims)
        self._reap(run)
        if folder.end():
            return AttemptExit()
        await _kill_all(folder)
        if claim.boot_id not in ("", processes.boot_id()):
            return AttemptExit(lost="the machine was restarted while the task ran")
        return AttemptExit(lost="the task's shim was killed")

    async def warn(self, run: LaunchSpec) -> None:
        claim = AttemptFolder(run.folder).claim()
        if claim and claim.pid:
            with _shim(claim) as shims:
                for pidfd in shims:
                    processes.send(pidfd, SIGUSR1)

    async def stop(self, run: LaunchSpec) -> None:
        folder = AttemptFolder(run.folder)
        claim = folder.claim()
        with _shim(claim) if claim and claim.pid else self._at_gate(folder) as shims:
            for pidfd in shims:
                processes.send(pidfd, SIGTERM)

    async def kill(self, run: LaunchSpec) -> None:
        folder = AttemptFolder(run.folder)
        claim = folder.claim()
        if claim:
            with _shim(claim) as shims:
                if shims:
                    # Once its command is dead, the shim ends all the rest and records the end.
                    _kill_children(claim)
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_KILL_SECONDS):
                            await processes.wait_ended(shims)
                for pidfd in shims:
                    processes.send(pidfd, SIGKILL)
        with self._at_gate(folder) as shims:
            for pidfd in shims:
                processes.send(pidfd, SIGKILL)
        await _kill_all(folder)

    async def usage(self, runs: Sequence[LaunchSpec]) -> list[ResourceUse | None]:
        children = [self._children.get(run.folder) for run in runs]
        return await asyncio.to_thread(_usage, list(zip(runs, children, strict=True)))

    async def remove(self, run: LaunchSpec) -> None:
        self._reap(run)
        self._children.pop(run.folder, None)
        self._helpers.pop(run.folder, None)
        untrusted.remove(run.folder / DATASETS)
        untrusted.remove(run.folder / VOLUMES)

    async def clean(self, live: frozenset[tuple[str, int]]) -> None:
        ours = f"{WORKSPACE}={self._tasks}/"
        for pid in list(processes.pids()):
            for line in processes.environment(pid):
                if line.startswith(ours):
                    await self._clean(Path(line.partition("=")[2]), live)

    def owner_of(self, pid: int) -> str | None:
        # A process may have cleared its environment and left its parent, but not the shim: an
        # orphan becomes the shim's child.
        for _ in range(_GENERATIONS):
            if task_id := self._named_in(pid):
                return task_id
            process = processes.find(pid)
            if process is None or process.parent <= 1:
                return None
            pid = process.parent
        return None

    async def close(self) -> None:
        for child in self._children.values():
            if child.poll() is None:
                child.returncode = 0  # It lives on; Popen would warn about it.
        self._children.clear()
        if self._shim is not None:
            self._shim.close()
            self._shim = None

    def _named_in(self, pid: int) -> str | None:
        """Return the task id in a process's environment. Only processes of this user count."""
        ours = f"{WORKSPACE}={self._tasks}/"
        if processes.owner(pid) == os.geteuid():
            for line in processes.environment(pid):
                if line.startswith(ours):
                    return line.removeprefix(ours).partition("/")[0]
        return None

    def _prepare(self, run: LaunchSpec, folder: AttemptFolder, shim: PinnedShim) -> None:
        if folder.claim():
            return
        if folder.run.exists():
            with self._at_gate(folder) as shims:
                if shims:
                    return
        folder.create(os.geteuid(), os.getegid())
        secrets = None
        if run.secrets is not None:
            secrets = secrets_file.make_folder(run.folder)
            secrets_file.write(run.folder, run.secrets.content, os.geteuid(), os.getegid())
        link_folders(run)
        self._children[run.folder] = subprocess.Popen(
            shim_command(
                shim.name,
                run,
                run_folder=folder.run,
                workspace=folder.workspace,
                secrets=secrets,
                control=folder.control if folder.takes_limits() else None,
                volumes=run.folder / VOLUMES,
            ),
            executable=shim.executable,
            cwd=folder.workspace,
            env=_environment(run),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            umask=0o077,
        )
        # Inherited by the command. In a service the server's own score is lower: a task that fills
        # the host's memory must not outlive it.
        with suppress(OSError):
            Path(f"/proc/{self._children[run.folder].pid}/oom_score_adj").write_text(_OOM_SCORE)

    async def _claim(self, folder: AttemptFolder) -> Claim | None:
        """Return the shim's claim, once it exists or no shim is left that could make one."""
        try:
            async with self._watch.subscribe(folder.run) as changes:
                with (
                    self._at_gate(folder) as shims,
                    processes.watched(shims, changes.wake) as waiting,
                ):
                    while True:
                        # In this order: a shim that ended meanwhile may have made its claim before.
                        left = bool(waiting)
                        claim = folder.claim()
                        if (claim and claim.pid) or not left:
                            return claim
                        await changes.wait()
        except OSError:
            return folder.claim()

    @contextmanager
    def _at_gate(self, folder: AttemptFolder) -> Iterator[list[int]]:
        """Yield descriptors of the shims that may still claim the attempt.

        A child of this server is found by its pid: for a moment after its start the kernel shows no
        environment.
        """
        child = self._children.get(folder.path)
        if child is None:
            with _members(folder) as pidfds:
                yield pidfds
        elif child.poll() is None:
            with processes.opened([child.pid], lambda _: True) as pidfds:
                yield pidfds
        else:
            yield []

    def _reap(self, run: LaunchSpec) -> int | None:
        """Return the shim's exit status, negative for a signal; `None` if it runs or is no
        child."""
        child = self._children.get(run.folder)
        return child.poll() if child else None

    async def _clean(self, workspace: Path, live: frozenset[tuple[str, int]]) -> None:
        folder = workspace.parent
        task_id, number = folder.parent.parent.name, folder.name
        if not number.isdecimal() or (task_id, int(number)) in live:
            return
        _log.warning("Ending a left-over task", extra={"task_id": task_id, "attempt": number})
        await self.kill(
            LaunchSpec(task_id, int(number), job_name="", folder=folder, image="", argv=(), env={})
        )


def _environment(run: LaunchSpec) -> dict[str, str]:
    """Nothing of the server's own environment is inherited."""
    return environment(run, linked_folders(run), process_gpus(run.gpu_ids), PROCESS_DEFAULTS)


def _usage(
    runs: Sequence[tuple[LaunchSpec, "subprocess.Popen[bytes] | None"]],
) -> list[ResourceUse | None]:
    return usage_of([_root(run, child) for run, child in runs])


def _root(run: LaunchSpec, child: "subprocess.Popen[bytes] | None") -> Root | None:
    """Return the shim of an attempt. A task can forge its claim, but not a child of this server."""
    if child is not None:
        return Root(child.pid, None) if child.returncode is None else None
    claim = AttemptFolder(run.folder).claim()
    if claim is None or claim.pid is None or claim.boot_id != processes.boot_id():
        return None
    return Root(claim.pid, claim.starttime)


def _shim(claim: Claim) -> AbstractContextManager[list[int]]:
    """Yield a descriptor of the shim that made the claim, if it still runs."""

    def made_it(pid: int) -> bool:
        process = processes.find(pid)
        return process is not None and process.starttime == claim.starttime

    same_boot = claim.pid is not None and claim.boot_id == processes.boot_id()
    return processes.opened([claim.pid] if claim.pid and same_boot else [], made_it)


def _runs(folder: AttemptFolder) -> bool:
    claim = folder.claim()
    with _shim(claim) if claim else nullcontext([]) as shims:
        return bool(shims) and not folder.end()


def _members(folder: AttemptFolder) -> AbstractContextManager[list[int]]:
    """Yield descriptors of all processes of an attempt, found by their environment."""
    mark = f"{WORKSPACE}={folder.workspace}"
    return processes.opened(processes.pids(), lambda pid: mark in processes.environment(pid))


def _kill_children(claim: Claim) -> None:
    def child(pid: int) -> bool:
        process = processes.find(pid)
        return process is not None and process.parent == claim.pid

    with processes.opened(processes.pids(), child) as children:
        for pidfd in children:
            processes.send(pidfd, SIGKILL)


async def _kill_all(folder: AttemptFolder) -> None:
    """Kill until nothing is left: a dying process may have started another."""
    while True:
        with _members(folder) as members:
            for pidfd in members:
                processes.send(pidfd, SIGKILL)
            if not members:
                return
            await processes.wait_ended(members)
