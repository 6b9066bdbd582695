"""What is asked of the engine about one container. Each may be asked twice."""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from signal import Signals
from typing import Any

import docker
from docker.errors import APIError, NotFound

from fetchml import failpoints
from fetchml.adapters.docker_container import ATTEMPT_LABEL, TASK_LABEL
from fetchml.attempt import AttemptFolder
from fetchml.ports import Owner

Container = Mapping[str, Any]
"""What the engine's inspect tells."""

_CONFLICT = 409
_REMOVAL_SECONDS = 0.1
_REMOVAL_TRIES = 100


def never_started(container: Container) -> bool:
    return str(container["State"]["StartedAt"]).startswith("0001-")


def begin(
    name: str,
    config: Mapping[str, Any],
    folder: AttemptFolder,
    user: Owner,
    unwanted: threading.Event,
    created: Callable[[str], None],
    client: docker.APIClient,
) -> None:
    """Create the container and start it, unless that was done before. Raises APIError, OSError.

    `created` is told the container's id before anything runs in it.
    """
    if folder.claim():
        return
    folder.create(*(user or (None, None)))
    try:
        made = client.create_container_from_config(config, name)  # type: ignore[no-untyped-call]
        created(made["Id"])
    except APIError as error:
        if error.status_code != _CONFLICT:
            raise
        if not never_started(client.inspect_container(name)):
            return
    failpoints.reach("created")
    if unwanted.is_set():
        return
    try:
        client.start(name)
    except APIError:
        client.remove_container(name, v=True, force=True)
        raise


def inspect(client: docker.APIClient, *, name: str) -> Container | None:
    """None: there is no such container."""
    try:
        container: Container = client.inspect_container(name)
    except NotFound:
        return None
    return container


def send_signal(client: docker.APIClient, *, name: str, number: Signals) -> None:
    """Fine also when the container does not run, or is gone."""
    try:
        client.kill(name, int(number))
    except APIError as error:
        if error.status_code not in (404, _CONFLICT):
            raise


def remove_ended(client: docker.APIClient, *, name: str) -> bool:
    """False: as far as the engine knows it has not ended."""
    try:
        client.remove_container(name, v=True)
    except NotFound:
        return True
    except APIError as error:
        if error.status_code != _CONFLICT:
            raise
        return False
    return True


def remove(client: docker.APIClient, *, name: str) -> None:
    """End it if it runs, and return when it is gone. Fine also when it was."""
    for _ in range(_REMOVAL_TRIES):
        with suppress(NotFound):
            try:
                client.remove_container(name, v=True, force=True)
            except APIError as error:
                if error.status_code != _CONFLICT:
                    raise
                time.sleep(_REMOVAL_SECONDS)  # somebody else removes it just now
                continue
        return
    raise TimeoutError(f"the Docker engine does not finish removing the container {name}")


def list_attempts(client: docker.APIClient, *, label: str) -> list[tuple[str, tuple[str, int]]]:
    """Of every container with this label, whatever its state, its id, and (task id, attempt)."""
    found = client.containers(all=True, filters={"label": label})
    return [
        (each["Id"], (each["Labels"][TASK_LABEL], int(each["Labels"][ATTEMPT_LABEL])))
        for each in found
    ]
