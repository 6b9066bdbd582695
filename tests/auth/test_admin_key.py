"""The first admin key of a server."""

import logging

import pytest

from fetchml.auth.keyring import BadAdminKey, ensure_admin
from fetchml.core.model import Role
from tests.support.keys import KeyWorld


def never(_: str) -> None:
    raise AssertionError("there is nothing to keep")


async def test_the_first_start_writes_the_admin_key_before_it_is_valid(world: KeyWorld) -> None:
    kept: list[tuple[str, int]] = []

    def keep(secret: str) -> None:
        kept.append((secret, len(world.store.keys)))

    secret = await ensure_admin(world.keyring, None, keep)
    assert secret is not None
    assert kept == [(secret, 0)]
    assert world.admission().admit(secret, "a").principal.role is Role.ADMIN
    assert await ensure_admin(world.keyring, None, never) is None, "only where there is none"


async def test_the_first_admin_key_can_be_chosen(world: KeyWorld) -> None:
    wanted = "a-key-of-my-own-choice"
    assert await ensure_admin(world.keyring, wanted, never) is None
    assert world.admission().admit(wanted, "a").principal.role is Role.ADMIN


@pytest.mark.parametrize(
    "wanted", ["short", "with a space in it", "ключ-ключ-ключ-ключ", "x" * 257]
)
async def test_a_weak_admin_key_is_rejected(world: KeyWorld, wanted: str) -> None:
    with pytest.raises(BadAdminKey) as caught:
        await ensure_admin(world.keyring, wanted, never)
    assert wanted not in str(caught.value)
    assert world.store.keys == {}


async def test_a_later_admin_key_is_ignored_with_a_warning(
    world: KeyWorld, caplog: pytest.LogCaptureFixture
) -> None:
    await world.keyring.create("ada", Role.USER)
    with caplog.at_level(logging.WARNING):
        await ensure_admin(world.keyring, "another-key-of-mine", never)
    assert "FETCHML_ADMIN_KEY is not a key of this server" in caplog.text
    assert "another-key-of-mine" not in caplog.text
    assert len(world.store.keys) == 1
