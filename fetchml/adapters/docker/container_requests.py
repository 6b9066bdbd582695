"""Requests to the engine about one container. Each may be repeated."""

import asyncio
import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from signal import Signals
from typing import Any, NamedTuple

from fetchml.adapters.docker.container_config import (
    ATTEMPT_LABEL,
    TASK_LABEL,
    with_volumes_in_memory,
)
from fetchml.adapters.docker.engine_http import EngineHttp, EngineRefused
from fetchml.files import secrets_file
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.ports.launcher import Owner, Secrets
from fetchml.system import failpoints

Container = Mapping[str, Any]
"""The engine's description of a container."""

MAX_DECLARED = 64
"""Volumes that an image may declare."""
_CREATE_TRIES = 3
"""Attempts to create a container that something else removes before its start."""
_REMOVAL_SECONDS = 0.1
_REMOVAL_TRIES = 100
_RESERVED_SECONDS = 0.1
_RESERVED_LOOKS = 300
"""The engine may still create the container that a server, killed since, asked for. The name is in
use then, but nothing is found by it yet."""


class ImageMissing(Exception):
    """The engine has no such image."""


def never_started(container: Container) -> bool:
    return str(container["State"]["StartedAt"]).startswith("0001-")


async def begin(
    http: EngineHttp,
    *,
    name: str,
    config: Mapping[str, Any],
    folder: AttemptFolder,
    user: Owner,
    secrets: Secrets | None,
    cancelled: asyncio.Event,
    created: Callable[[str], None],
    inspected: Callable[[Container], None],
) -> None:
    """Create and start the container, unless that was done before. Raises ImageMissing,
    EngineRefused, EngineUnavailable, OSError.

    `created` receives the container's id before anything runs in it, `inspected` its description.
    """
    if folder.claim():
        return
    await asyncio.to_thread(folder.create, *(user or (None, None)))
    claim = folder.claim()
    if claim is not None and claim.revoked:
        # The attempt was given up meanwhile, and perhaps discarded before its folders were made.
        await asyncio.to_thread(folder.discard)
        return
    for left in reversed(range(_CREATE_TRIES)):
        found = await _create(http, name=name, config=config, created=created)
        if found.container is not None:
            inspected(found.container)
        if not found.must_start:
            return
        failpoints.reach("created")
        if cancelled.is_set():
            return
        if secrets is not None:
            owner = user or (None, None)
            await asyncio.to_thread(secrets_file.write, folder.path, secrets.content, *owner)
        try:
            await http.ask("POST", f"/containers/{name}/start")
        except EngineRefused as error:
            # Something removed it (`docker container prune`, an engine that cleans up after a full
            # disk). Nothing of it has run, so it is created again.
            was_removed = left and await _is_removed_or_removing(http, name, error)
            await remove(http, name=name)
            if not was_removed:
                raise
        else:
            return


class _Created(NamedTuple):
    must_start: bool
    """False if the container exists and was started before."""
    container: Container | None
    """`None` if something has removed it."""


async def _create(
    http: EngineHttp,
    *,
    name: str,
    config: Mapping[str, Any],
    created: Callable[[str], None],
) -> _Created:
    """Raises ImageMissing, EngineRefused, EngineUnavailable."""
    looks = 0
    while True:
        try:
            return _Created(True, await create(http, name=name, config=config, created=created))
        except EngineRefused as error:
            if error.status == HTTPStatus.NOT_FOUND and "image" in str(error):
                raise ImageMissing from error
            if error.status != HTTPStatus.CONFLICT:
                raise
            container = await inspect(http, name=name)
            looks += 1
            if container is None and looks == _RESERVED_LOOKS:
                raise
        if container is None:
            await asyncio.sleep(_RESERVED_SECONDS)
        elif never_started(container) and _own_volumes(container):
            # The server was killed before it had looked.
            await remove(http, name=name)
        else:
            return _Created(never_started(container), container)


async def create(
    http: EngineHttp,
    *,
    name: str,
    config: Mapping[str, Any],
    created: Callable[[str], None] = lambda _: None,
) -> Container | None:
    """Create a container; return its description. The folders that its image declares as volumes
    are in memory: on the engine's disk nothing would limit them. Raises EngineRefused,
    EngineUnavailable."""
    made = await http.ask("POST", "/containers/create", {"name": name}, config)
    created(made["Id"])
    container = await inspect(http, name=made["Id"])
    declared = _own_volumes(container) if container is not None else []
    if not declared:
        return container
    # Only the engine finds out what a name of an image means at that moment.
    await remove(http, name=made["Id"])
    if len(declared) > MAX_DECLARED:
        raise EngineRefused(
            HTTPStatus.BAD_REQUEST,
            f"its image declares {len(declared)} volumes, and {MAX_DECLARED} are allowed: build it "
            "with fewer VOLUME instructions",
        )
    made = await http.ask(
        "POST", "/containers/create", {"name": name}, with_volumes_in_memory(config, declared)
    )
    created(made["Id"])
    return container


def _own_volumes(container: Container) -> list[str]:
    """Return where a container has volumes that the engine created for it."""
    return [each["Destination"] for each in container["Mounts"] if each["Type"] == "volume"]


async def _is_removed_or_removing(http: EngineHttp, name: str, error: EngineRefused) -> bool:
    """Return whether a container did not start because something else removes it."""
    if error.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
        return False
    container = await inspect(http, name=name)
    return container is None or container["State"]["Status"] == "removing"


async def inspect(http: EngineHttp, *, name: str) -> Container | None:
    """Return the engine's description; `None` if the container does not exist."""
    try:
        container: Container = await http.ask("GET", f"/containers/{name}/json")
    except EngineRefused as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        return None
    return container


async def image_digest(http: EngineHttp, *, image_id: str, name: str) -> str | None:
    """Return an image as a registry names it, `NAME@sha256:…`; `None` if no registry has it.
    `name`: the task's name of it, which is preferred to others. Raises EngineUnavailable."""
    try:
        image = await http.ask("GET", f"/images/{image_id}/json")
    except EngineRefused:
        return None
    digests = sorted(image.get("RepoDigests") or ())
    repository = name.partition("@")[0]
    own = [each for each in digests if repository.startswith(each.partition("@")[0])]
    return next(iter(own or digests), None)


async def send_signal(http: EngineHttp, *, name: str, number: Signals) -> bool:
    """Send a signal, if the container runs; return whether it does."""
    try:
        await http.ask("POST", f"/containers/{name}/kill", {"signal": str(int(number))})
    except EngineRefused as error:
        if error.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
            raise
        return False
    return True


async def remove_ended(http: EngineHttp, *, name: str) -> bool:
    """Remove an ended container; return false if the engine still considers it running."""
    return await _remove(http, name, {"v": "1"})


async def remove(http: EngineHttp, *, name: str) -> None:
    """End the container if it runs, and return when it is gone."""
    for _ in range(_REMOVAL_TRIES):
        if await _remove(http, name, {"v": "1", "force": "1"}):
            return
        await asyncio.sleep(_REMOVAL_SECONDS)  # Something else is removing it.
    raise TimeoutError(f"timed out: the Docker engine has not removed the container {name}")


async def list_attempts(http: EngineHttp, *, label: str) -> list[tuple[str, tuple[str, int]]]:
    """Return id and (task id, attempt) of every container with a label, in any state."""
    query = {"all": "1", "filters": json.dumps({"label": [label]})}
    return [
        (each["Id"], (each["Labels"][TASK_LABEL], int(each["Labels"][ATTEMPT_LABEL])))
        for each in await http.ask("GET", "/containers/json", query)
    ]


async def _remove(http: EngineHttp, name: str, query: Mapping[str, str]) -> bool:
    """Remove it; return false if it runs or is being removed."""
    try:
        await http.ask("DELETE", f"/containers/{name}", query)
    except EngineRefused as error:
        if error.status == HTTPStatus.CONFLICT:
            return False
        if error.status != HTTPStatus.NOT_FOUND:
            raise
    return True
