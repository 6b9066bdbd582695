"""The calls that enter running tasks."""

from collections.abc import Iterator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

from google.protobuf.message import Message

from fetchml.client import access_rpcs
from fetchml.client.access_rpcs import ExecResult
from fetchml.client.aio.files import AsyncFiles
from fetchml.client.errors import Unavailable
from fetchml.v1.access_pb2 import TaskPortLink

if TYPE_CHECKING:
    from fetchml.v1.access_pb2 import ExecExit


class AsyncAccess(AsyncFiles):
    async def open_port(self, task_id: str, port: int) -> TaskPortLink:
        """Return a link that opens a port of a running task in a browser, once.

        Raises Conflict if nothing runs, or if the server has no origins for ports of tasks.
        """
        return await self.call(access_rpcs.open_port(task_id, port))

    async def exec(self, task_id: str, command: Sequence[str], *, data: bytes = b"") -> ExecResult:
        """Run a command in a running task, with `data` as its input, and return its whole output.

        It runs as the task's user, in its environment and within its limits. Only the task's owner
        and admins may. Raises Conflict if the task does not run, or ends before the command does.
        """
        rpc = access_rpcs.exec_task(task_id, command)
        stdout, stderr = bytearray(), bytearray()
        end: ExecExit | None = None

        def messages() -> Iterator[Message]:
            return access_rpcs.exec_messages(rpc, data)

        async with aclosing(self.converse(rpc, messages)) as replies:
            async for reply in replies:
                stdout += reply.stdout
                stderr += reply.stderr
                if reply.HasField("exit"):
                    end = reply.exit
        if end is None:
            raise Unavailable("The session ended without the exit of its command")
        return ExecResult(end.code, bytes(stdout), bytes(stderr), end.error)
