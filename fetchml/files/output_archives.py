"""Archives of all outputs of a task, written while they are sent."""

from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import NamedTuple

from fetchml.core.requests.download_names import ArchiveFormat
from fetchml.errors import BadRequest, Overloaded, RateLimited, Unavailable
from fetchml.files import archive_format
from fetchml.files.task_files import MAX_OUTPUT_FILES, MOST_PATH_BYTES, TaskFiles, path_bytes

BY_USER = 2
IN_ALL = 8
RETRY_AFTER = 10
BY_FILE = "download the files one by one, as 'fetchml outputs --download' does"


class OutputsArchive(NamedTuple):
    name: str
    """A file name of letters, digits, `_`, `-` and `.`."""
    pieces: AsyncGenerator[bytes]


class OutputArchives:
    def __init__(self, files: TaskFiles) -> None:
        self._files = files
        self._open = Counter[str]()

    @contextmanager
    def hold(self, user: str) -> Iterator[None]:
        """Count an archive while it is written. Raises RateLimited, Overloaded."""
        if self._open[user] >= BY_USER:
            message = f"More than {BY_USER} of your archives at once: wait until one is complete"
            raise RateLimited(RETRY_AFTER, message=message)
        if self._open.total() >= IN_ALL:
            raise Overloaded("The server is writing too many archives of outputs")
        self._open[user] += 1
        try:
            yield
        finally:
            self._open[user] -= 1
            if not self._open[user]:
                del self._open[user]

    async def paths(self, task_id: str, user: str) -> list[str]:
        """Return the paths of all outputs. Raises BadRequest if they are too many."""
        files = await self._files.list_outputs(task_id, user, MAX_OUTPUT_FILES + 1)
        if len(files) > MAX_OUTPUT_FILES:
            raise BadRequest(
                f"The task has more than {MAX_OUTPUT_FILES} output files, too many for one "
                f"archive: {BY_FILE}"
            )
        paths = [file.path for file in files]
        if sum(map(path_bytes, paths)) > MOST_PATH_BYTES:
            raise BadRequest(
                f"The paths of the task's outputs are too long for one archive: {BY_FILE}"
            )
        return paths

    async def pieces(
        self, task_id: str, form: ArchiveFormat, paths: list[str]
    ) -> AsyncGenerator[bytes]:
        """Yield the archive. An error on the way means that it is incomplete."""
        written = archive_format.write(form, self._files.outputs(task_id), paths)
        try:
            while (piece := await self._files.reads(partial(next, written, None))) is not None:
                yield piece
        finally:
            # A thread that is still busy with it after a cancellation ends it by itself.
            with suppress(ValueError, Unavailable):
                await self._files.reads(written.close)
