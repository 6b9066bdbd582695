"""Artifacts over the MLflow protocol: files of runs and logged models, which the server stores.

Their paths are `EXPERIMENT/RUN/artifacts/…` and `EXPERIMENT/models/MODEL/artifacts/…`.
"""

from aiohttp import web

from fetchml.api.http.body import read_pieces
from fetchml.api.http.request import RestRequest
from fetchml.api.http.streams import Streams
from fetchml.api.mlflow.errors import NotImplementedHere
from fetchml.api.mlflow.messages import Json, entries_json, run_uri
from fetchml.api.mlflow.requests import (
    ListArtifacts,
    ListFolder,
    Nothing,
)
from fetchml.api.rest.outputs import send_file
from fetchml.core import permissions
from fetchml.core.model import Principal
from fetchml.errors import BadRequest, Forbidden, NotFound
from fetchml.tracking.artifacts import WRITE_BYTES, Artifacts, Holder
from fetchml.tracking.logged_models import LoggedModels
from fetchml.tracking.tracking_service import Tracking

MAX_FILE_BYTES = 1 << 40
UPLOAD_BYTES = WRITE_BYTES + 256 * 1024
"""Memory of one upload, which is read only as fast as it is stored."""
_NO_PARTS = (
    "Multipart upload is not supported for the current artifact repository: send the file in one "
    "request"
)


class ArtifactCalls:
    def __init__(
        self,
        tracking: Tracking,
        models: LoggedModels,
        artifacts: Artifacts,
        streams: Streams,
        *,
        body_timeout_seconds: float,
        send_timeout_seconds: float,
    ) -> None:
        self._tracking = tracking
        self._models = models
        self._artifacts = artifacts
        self._streams = streams
        self._body_timeout_seconds = body_timeout_seconds
        self._send_timeout_seconds = send_timeout_seconds

    async def upload(self, request: RestRequest, path: str) -> web.StreamResponse:
        holder, inside = await self._holder(request.principal, path, to_write=True)
        pieces = read_pieces(
            request.http, max_bytes=MAX_FILE_BYTES, stall_seconds=self._body_timeout_seconds
        )
        request.hold_body(UPLOAD_BYTES)
        with self._streams.open(request):
            await self._artifacts.write(holder, inside, pieces)
        return request.json({})

    async def download(self, request: RestRequest, path: str) -> web.StreamResponse:
        holder, inside = await self._holder(request.principal, path)
        file = await self._artifacts.open(holder, inside)
        return await send_file(request, file, inside, self._send_timeout_seconds)

    async def delete(self, request: RestRequest, asked: Nothing, path: str) -> Json:
        holder, inside = await self._holder(request.principal, path, to_write=True)
        await self._artifacts.delete(holder, inside)
        return {}

    async def list(self, request: RestRequest, asked: ListFolder) -> Json:
        holder, inside = await self._holder(request.principal, asked.path)
        return {"files": entries_json(await self._artifacts.list(holder, inside))}

    async def list_of_run(self, request: RestRequest, asked: ListArtifacts) -> Json:
        run = await self._tracking.run(request.principal, asked.run)
        entries = await self._artifacts.list(Holder(run.user, run.id), asked.path)
        files = entries_json(entries, f"{asked.path}/" if asked.path else "")
        return {"root_uri": run_uri(run), "files": files}

    async def no_parts(self, request: RestRequest, path: str) -> web.StreamResponse:
        """Clients then send the file in one request."""
        raise NotImplementedHere(_NO_PARTS)

    async def _holder(
        self, who: Principal, path: str, *, to_write: bool = False
    ) -> tuple[Holder, str]:
        """Return the run or model that a path names, and the path inside of it. Raises NotFound,
        Forbidden, BadRequest."""
        match path.strip("/").split("/"):
            case [experiment_id, "models", model_id, "artifacts", *inside]:
                model = self._models.get(who, model_id)
                if to_write:
                    self._models.to_change(who, model_id)
                owner, in_experiment = model.user, model.experiment_id
                holder = Holder(owner, model_id)
            case [experiment_id, run_id, "artifacts", *inside]:
                run = await self._tracking.run(who, run_id)
                if to_write and not permissions.may_change(who, run):
                    raise Forbidden("Only the run's owner or an admin may change it")
                if to_write and run.deleted_at is not None:
                    raise BadRequest(f"Run {run_id} is deleted: restore it first")
                owner, in_experiment = run.user, run.experiment_id
                holder = Holder(owner, run_id)
            case _:
                raise NotFound(f"Artifact {path[:200]!r} not found")
        if experiment_id != in_experiment:
            raise NotFound(f"Artifact {path[:200]!r} not found")
        return holder, "/".join(inside)
