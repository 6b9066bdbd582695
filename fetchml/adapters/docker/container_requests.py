"""What is asked of the engine about one container. Each may be asked twice."""

import asyncio
import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from signal import Signals
from typing import Any

from fetchml.adapters.docker.container_config import ATTEMPT_LABEL, TASK_LABEL
from fetchml.adapters.docker.http import EngineHttp, EngineRefused
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.ports.launcher import Owner
from fetchml.system import failpoints

Container = Mapping[str, Any]
"""What the engine's inspect tells."""

_TIMES_MADE = 3
"""How often a container is made that something else takes away before it is started."""
_REMOVAL_SECONDS = 0.1
_REMOVAL_TRIES = 100


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
    unwanted: asyncio.Event,
    created: Callable[[str], None],
) -> None:
    """Create the container and start it, unless that was done before. Raises ImageMissing,
    EngineRefused, EngineAway, OSError.

    `created` is told the container's id before anything runs in it.
    """
    if folder.claim():
        return
    await asyncio.to_thread(folder.create, *(user or (None, None)))
    for left in reversed(range(_TIMES_MADE)):
        if not await _create(http, name=name, config=config, created=created):
            return
        failpoints.reach("created")
        if unwanted.is_set():
            return
        try:
            await http.ask("POST", f"/containers/{name}/start")
        except EngineRefused as error:
            # Whatever took it away (`docker container prune`, an engine that tidies up after a
            # full disk): nothing of it has run, so it is made again.
            was_taken = left and await _is_gone_or_going(http, name, error)
            await remove(http, name=name)
            if not was_taken:
                raise
        else:
            return


async def _create(
    http: EngineHttp,
    *,
    name: str,
    config: Mapping[str, Any],
    created: Callable[[str], None],
) -> bool:
    """False: it is there, and was started before.

    Raises ImageMissing, EngineRefused, EngineAway.
    """
    try:
        made = await http.ask("POST", "/containers/create", {"name": name}, config)
        created(made["Id"])
    except EngineRefused as error:
        if error.status == HTTPStatus.NOT_FOUND and "image" in str(error):
            raise ImageMissing from error
        if error.status != HTTPStatus.CONFLICT:
            raise
        container = await inspect(http, name=name)
        return container is None or never_started(container)
    return True


async def _is_gone_or_going(http: EngineHttp, name: str, error: EngineRefused) -> bool:
    """Whether a container was not started because somebody else removes it."""
    if error.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
        return False
    container = await inspect(http, name=name)
    return container is None or container["State"]["Status"] == "removing"


async def inspect(http: EngineHttp, *, name: str) -> Container | None:
    """None: there is no such container."""
    try:
        container: Container = await http.ask("GET", f"/containers/{name}/json")
    except EngineRefused as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        return None
    return container


async def send_signal(http: EngineHttp, *, name: str, number: Signals) -> None:
    """Fine also when the container does not run, or is gone."""
    try:
        await http.ask("POST", f"/containers/{name}/kill", {"signal": str(int(number))})
    except EngineRefused as error:
        if error.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
            raise


async def remove_ended(http: EngineHttp, *, name: str) -> bool:
    """False: as far as the engine knows it has not ended."""
    return await _remove(http, name, {"v": "1"})


async def remove(http: EngineHttp, *, name: str) -> None:
    """End it if it runs, and return when it is gone. Fine also when it was."""
    for _ in range(_REMOVAL_TRIES):
        if await _remove(http, name, {"v": "1", "force": "1"}):
            return
        await asyncio.sleep(_REMOVAL_SECONDS)  # somebody else removes it just now
    raise TimeoutError(f"the Docker engine does not finish removing the container {name}")


async def list_attempts(http: EngineHttp, *, label: str) -> list[tuple[str, tuple[str, int]]]:
    """Of every container with this label, whatever its state, its id, and (task id, attempt)."""
    query = {"all": "1", "filters": json.dumps({"label": [label]})}
    return [
        (each["Id"], (each["Labels"][TASK_LABEL], int(each["Labels"][ATTEMPT_LABEL])))
        for each in await http.ask("GET", "/containers/json", query)
    ]


async def _remove(http: EngineHttp, name: str, query: Mapping[str, str]) -> bool:
    """Gone, or not yet: it runs, or is being removed."""
    try:
        await http.ask("DELETE", f"/containers/{name}", query)
    except EngineRefused as error:
        if error.status == HTTPStatus.CONFLICT:
            return False
        if error.status != HTTPStatus.NOT_FOUND:
            raise
    return True
