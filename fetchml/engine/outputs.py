"""The files of a task that a caller may see: listed, opened, and archived."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from fetchml.core.model import Principal
from fetchml.core.requests.download_names import ArchiveFormat
from fetchml.engine.tasks.tasks import Tasks
from fetchml.errors import BadRequest
from fetchml.files.output_archives import OutputArchives, OutputsArchive
from fetchml.files.reads import OpenedFile
from fetchml.files.task_files import TaskFiles
from fetchml.views import NamedFolder, OutputFile


class TaskOutputs:
    """Used from one event loop. Verbs raise `errors.RequestError`."""

    def __init__(self, tasks: Tasks, files: TaskFiles) -> None:
        self._tasks = tasks
        self._files = files
        self._archives = OutputArchives(files)

    async def list(
        self, who: Principal, task_id: str, folder: str | None = None
    ) -> list[OutputFile]:
        """`folder`: one of NamedFolder; `None` or empty for the outputs."""
        chosen = _folder(folder)
        await self._tasks.get(who, task_id)
        return await self._files.list_outputs(task_id, who.user, folder=chosen)

    async def open(
        self, who: Principal, task_id: str, path: str, folder: str | None = None
    ) -> OpenedFile:
        """`folder` as for `list`."""
        chosen = _folder(folder)
        await self._tasks.get(who, task_id)
        return await self._files.open_output(task_id, path, chosen)

    @asynccontextmanager
    async def archive(
        self, who: Principal, task_id: str, form: str
    ) -> AsyncIterator[OutputsArchive]:
        """Archive all outputs, in the format `zip` or `tar`. It counts as open until the end."""
        if form not in tuple(ArchiveFormat):
            raise BadRequest(f"format: must be one of {', '.join(ArchiveFormat)}")
        task = await self._tasks.get(who, task_id)
        with self._archives.hold(who.user):
            paths = await self._archives.paths(task_id, who.user)
            name = f"{task.spec.job_name}-{task.id[-8:]}.{form}"
            pieces = self._archives.pieces(task_id, ArchiveFormat(form), paths)
            async with aclosing(pieces):
                yield OutputsArchive(name, pieces)


def _folder(name: str | None) -> NamedFolder:
    """Raises BadRequest."""
    if not name:
        return NamedFolder.OUTPUTS
    if name not in tuple(NamedFolder):
        raise BadRequest(f"folder: must be one of {', '.join(NamedFolder)}")
    return NamedFolder(name)
