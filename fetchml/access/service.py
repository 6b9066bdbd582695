"""Entering a running task: for its owner and admins, audited, limited, ended with the task."""

import asyncio
import hashlib
import shlex
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from fetchml.access.limits import (
    CONNECTIONS_BY_USER,
    CONNECTIONS_IN_ALL,
    SESSIONS_BY_USER,
    SESSIONS_IN_ALL,
    ConcurrencyLimit,
)
from fetchml.access.relays import Relay, Relays
from fetchml.access.session import ExecSession, SessionCut
from fetchml.auth.audit import Audit
from fetchml.core import permissions
from fetchml.core.audit import Action
from fetchml.core.model import Principal
from fetchml.core.requests import text
from fetchml.core.requests.access import ExecRequest, enter_fault, port_fault
from fetchml.engine.tasks.tasks import Tasks
from fetchml.errors import BadRequest, Conflict, Forbidden, RequestError
from fetchml.ports.launcher import (
    EnterError,
    Helper,
    Launcher,
    LaunchSpec,
    RelayCommand,
    SessionCommand,
)
from fetchml.system.log import redact

AUDITED_CHARACTERS = 280
"""Of a command line."""
PIECE_BYTES = 32 << 10
"""Read at once from a port; at most twice this is read ahead."""
_DISABLED = "Access to tasks is disabled on this server ([access] enabled)"


class AccessOptions(NamedTuple):
    enabled: bool = True
    idle_seconds: int = 3600
    """0: no limit."""
    max_seconds: int = 43_200
    """0: no limit."""


DEFAULT_ACCESS = AccessOptions()


class TaskAccess:
    """Used from one event loop. Verbs raise `errors.RequestError`."""

    def __init__(
        self,
        tasks: Tasks,
        launcher: Launcher,
        launched: Callable[[str], LaunchSpec | None],
        audit: Audit,
        options: AccessOptions,
    ) -> None:
        """`launched`: see `AttemptManager.launched`."""
        self._tasks = tasks
        self._launcher = launcher
        self._launched = launched
        self._audit = audit
        self._options = options
        self.sessions = ConcurrencyLimit("sessions in tasks", SESSIONS_BY_USER, SESSIONS_IN_ALL)
        self.connections = ConcurrencyLimit(
            "connections to ports of tasks", CONNECTIONS_BY_USER, CONNECTIONS_IN_ALL
        )
        self.relays = Relays(self.enter, audit)

    @property
    def limits(self) -> Mapping[str, ConcurrencyLimit]:
        """Numbers of open sessions and relays, by kind."""
        return {
            "sessions": self.sessions,
            "connections": self.connections,
            "ports": self.relays.limit,
        }

    @asynccontextmanager
    async def exec(
        self, who: Principal, task_id: str, request: ExecRequest
    ) -> AsyncIterator[ExecSession]:
        """Run a command in a task. It ends, with all that it started, when the block is left."""
        spec = await self.admit(who, task_id)
        if fault := request.fault():
            raise BadRequest(fault)
        env = {"TERM": request.term} if request.terminal else {}
        command = SessionCommand(request.command, request.terminal, env)
        with self.sessions.hold(who):
            await self._audit.done(who, Action.TASK_EXEC, task_id, _audited(request.command))
            began = asyncio.get_running_loop().time()
            ended = "the client ended it, its key became invalid, or the server stopped"
            try:
                async with self._session(spec, command) as session:
                    try:
                        yield session
                    finally:
                        if session.exit is not None:
                            ended = f"exit code {session.exit.code}"
            except RequestError as error:
                ended = error.message
                raise
            finally:
                seconds = asyncio.get_running_loop().time() - began
                self._audit.done(
                    who, Action.TASK_EXEC_END, task_id, f"after {seconds:.0f} s: {ended}"
                )

    @asynccontextmanager
    async def _session(
        self, spec: LaunchSpec, command: SessionCommand
    ) -> AsyncIterator[ExecSession]:
        """Raises Conflict."""
        helper = await self.enter(spec, command)
        session = ExecSession(helper)
        limits = asyncio.create_task(self._limit(session))
        try:
            await session.begin()
            yield session
        finally:
            limits.cancel()
            await helper.close()

    @asynccontextmanager
    async def connect(
        self, who: Principal, task_id: str, port: int
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Connect to a TCP port of a task, until `[access] max_seconds` have passed."""
        spec = await self.admit_to_port(who, task_id, port)
        with self.connections.hold(who):
            async with self.used(who, spec, port) as relay:
                reader, writer = await asyncio.open_unix_connection(
                    sock=await relay.connect(), limit=PIECE_BYTES
                )
                try:
                    async with asyncio.timeout(self._options.max_seconds or None):
                        yield reader, writer
                except TimeoutError:
                    raise Conflict(
                        f"Connection limit of {self._options.max_seconds} s reached "
                        "([access] max_seconds)"
                    ) from None
                finally:
                    # A task that reads nothing would keep the connection open while bytes wait.
                    writer.transport.abort()

    @asynccontextmanager
    async def used(self, who: Principal, spec: LaunchSpec, port: int) -> AsyncIterator[Relay]:
        """Use a port of a task that the caller may enter. The caller limits the connections."""
        relay = await self.relays.find(who, spec, port)
        relay.connections += 1
        try:
            yield relay
        finally:
            relay.connections -= 1
            relay.unused_since = asyncio.get_running_loop().time()

    async def admit_to_port(self, who: Principal, task_id: str, port: int) -> LaunchSpec:
        """As `admit`. Raises BadRequest too."""
        spec = await self.admit(who, task_id)
        if fault := port_fault(port):
            raise BadRequest(fault)
        return spec

    async def admit(self, who: Principal, task_id: str) -> LaunchSpec:
        """Return the running attempt, if the caller may enter it. Raises NotFound, Forbidden,
        Conflict."""
        if not self._options.enabled:
            raise Forbidden(_DISABLED)
        task = await self._tasks.get(who, task_id)
        if not permissions.may_enter(who, task):
            raise Forbidden("Only the task's owner or an admin may enter it")
        if fault := enter_fault(task):
            raise Conflict(fault)
        spec = self._launched(task_id)
        if spec is None or spec.attempt != task.attempt:
            raise Conflict("The task is ending, so it cannot be entered")
        return spec

    async def enter(self, spec: LaunchSpec, command: SessionCommand | RelayCommand) -> Helper:
        """Raises Conflict."""
        try:
            return await self._launcher.enter(spec, command)
        except EnterError as error:
            raise Conflict(f"Cannot enter the task: {error}") from error

    async def _limit(self, session: ExecSession) -> None:
        """Cut a session that is idle, or has lasted too long."""
        loop = asyncio.get_running_loop()
        began, idle, longest = loop.time(), self._options.idle_seconds, self._options.max_seconds
        while True:
            ends = []
            if longest:
                reason = f"Session limit of {longest} s reached ([access] max_seconds)"
                ends.append((began + longest, reason))
            if idle:
                reason = f"The session was idle for {idle} s ([access] idle_seconds)"
                ends.append((session.last_use + idle, reason))
            if not ends:
                return
            at, reason = min(ends)
            if at <= loop.time():
                await session.cut(SessionCut(reason))
                return
            await asyncio.sleep(at - loop.time())


def _audited(command: Sequence[str]) -> str:
    """Return the beginning of a command for people, and what identifies all of it."""
    whole = shlex.join(command)
    data = whole.encode()
    shown = text.shown(redact(whole), AUDITED_CHARACTERS)
    return f"{shown} ({len(data)} bytes, SHA-256 {hashlib.sha256(data).hexdigest()})"
