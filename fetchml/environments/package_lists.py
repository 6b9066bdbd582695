"""The lists of packages of environments, by their SHA-256. They outlive the environments: each task
names the one that it had."""

import hashlib
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Protocol

from fetchml.core.environments import MAX_VERSIONS
from fetchml.system.threads import run_in_thread

KIND = "packages"
_SUFFIX = ".dist-info"
_RUNS = re.compile("[-_.]+")


class PackageStore(Protocol):
    """The part of the store that holds them (`ports.store`)."""

    async def put_document(self, kind: str, document_id: str, data: bytes) -> None: ...

    async def get_document(self, kind: str, document_id: str) -> bytes | None: ...


class PackageLists:
    """Used from one event loop."""

    def __init__(self, store: PackageStore) -> None:
        self._store = store

    async def record(self, folder: Path) -> str:
        """Keep the list of an environment's packages; returns its id. Raises OSError."""
        data = "\n".join(await run_in_thread(packages_in, folder)).encode()
        list_id = hashlib.sha256(data).hexdigest()
        if await self._store.get_document(KIND, list_id) is None:
            await self._store.put_document(KIND, list_id, data)
        return list_id

    async def get(self, list_id: str | None) -> Sequence[str]:
        """Return the packages as `name==version`; none if the list is not known."""
        data = None if list_id is None else await self._store.get_document(KIND, list_id)
        return data.decode().split("\n") if data else ()


def packages_in(folder: Path) -> list[str]:
    """Return the packages that are installed in an environment, by the names of their metadata
    folders (PEP 427), up to MAX_VERSIONS. Raises OSError."""
    found = set()
    folders = folder.glob(f"lib/python3*/site-packages/*{_SUFFIX}")
    for each in islice(folders, MAX_VERSIONS):
        name, _, version = each.name.removesuffix(_SUFFIX).partition("-")
        if version and each.name.isascii() and each.name.isprintable():
            found.add(f"{_RUNS.sub('-', name).lower()}=={version}")
    return sorted(found)
