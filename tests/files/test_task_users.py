"""Which uid a user gets."""

import os
from typing import TYPE_CHECKING, cast

from fetchml.files.task_users import OwnerPerUser

if TYPE_CHECKING:
    from fetchml.ports.store import Store


class Documents:
    """The part of a store that is used here."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], bytes] = {}

    async def list_documents(self, kind: str) -> list[bytes]:
        return [data for (each, _), data in self.kept.items() if each == kind]

    async def put_document(self, kind: str, key: str, data: bytes) -> None:
        self.kept[kind, key] = data


async def test_each_user_gets_a_separate_uid() -> None:
    store = cast("Store", Documents())
    server = os.geteuid()
    owners = OwnerPerUser(store, server)
    assert await owners.of("ada") == (server + 1, server + 1)
    assert await owners.of("bob") == (server + 2, server + 2)
    later = OwnerPerUser(store, server)
    assert await later.of("eve") == (server + 3, server + 3)
    assert await later.of("ada") == (server + 1, server + 1)
