"""The threads in which logs are searched."""

from collections.abc import Callable
from typing import TypeVar

from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.log_search import ReadLog
from fetchml.files.reads import FileReads
from fetchml.system.threads import UserThreads

THREADS = 2

T = TypeVar("T")


class LogThreads:
    """A task decides how long a search in its log takes, up to a limit. So searches have threads of
    their own, and never delay other work."""

    def __init__(self, reads: FileReads) -> None:
        self._reads = reads
        self._threads = UserThreads("log-search", THREADS)

    async def run(self, user: str, folder: AttemptFolder, work: Callable[[ReadLog], T]) -> T:
        """Return what `work` returns, which reads the folder's log with its argument. It ends at
        the next read when the caller is cancelled. Raises Unavailable."""

        def reading(check: Callable[[], None]) -> T:
            def read(offset: int, size: int) -> tuple[int, bytes]:
                check()
                return folder.read_log(offset, size)

            return work(read)

        return await self._reads.long(folder.run, self._threads.run(user, reading))
