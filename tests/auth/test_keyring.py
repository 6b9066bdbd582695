"""API keys: created, used, expired, revoked."""

import asyncio

import pytest

from fetchml.auth.admission import Admission, Admitted
from fetchml.auth.limits import RateLimiter
from fetchml.core.model import Principal, Role
from fetchml.errors import NotFound, Unauthorized, ValidationFailed
from tests.support.keys import KeyWorld
from tests.support.waiting import SECONDS


async def test_a_key_is_admitted_and_its_secret_is_not_stored(world: KeyWorld) -> None:
    key, secret = await world.keyring.create("ada", Role.USER)
    admitted = world.admission().admit(secret, "1.2.3.4")
    assert admitted == Admitted(Principal("ada", Role.USER, key.id, "1.2.3.4"), None)
    assert len(secret) == len("fml_") + 43
    assert secret not in repr(world.store.keys)
    assert secret[4:] not in repr(world.keyring.list())


@pytest.mark.parametrize("secret", [None, "", "fml_wrong", "ключ", "\ud800", "x" * 100_000])
async def test_wrong_keys_are_rejected(world: KeyWorld, secret: str | None) -> None:
    await world.keyring.create("ada", Role.USER)
    with pytest.raises(Unauthorized):
        world.admission(RateLimiter(1, 1)).admit(secret, "1.2.3.4")


async def test_a_revoked_key_is_rejected_at_once_and_after_a_restart(world: KeyWorld) -> None:
    key, secret = await world.keyring.create("ada", Role.USER)
    admission = world.admission()
    admission.admit(secret, "a")
    revoked = await world.keyring.revoke(key.id)
    assert revoked.revoked_at == world.now_ms
    with pytest.raises(Unauthorized):
        admission.admit(secret, "a")
    world.now_ms += 5
    assert await world.keyring.revoke(key.id) == revoked, "it stays as it is"
    world.keyring = world.restart()
    await world.keyring.load()
    with pytest.raises(Unauthorized):
        world.admission().admit(secret, "a")
    with pytest.raises(NotFound):
        await world.keyring.revoke("nothing")


async def test_an_expired_key_is_rejected(world: KeyWorld) -> None:
    _, secret = await world.keyring.create("ada", Role.USER, expires_at=world.now_ms + 10)
    admission = world.admission()
    admission.admit(secret, "a")
    world.now_ms += 10
    with pytest.raises(Unauthorized):
        admission.admit(secret, "a")


async def test_revoking_a_key_ends_its_streams(world: KeyWorld) -> None:
    key, secret = await world.keyring.create("ada", Role.USER)
    admission = world.admission()
    who = admission.admit(secret, "a").principal
    opened = asyncio.Event()

    async def hold() -> None:
        with admission.while_valid(who):
            opened.set()
            await asyncio.Event().wait()

    holding = [asyncio.create_task(hold()) for _ in range(3)]
    await opened.wait()
    holding[2].cancel()
    await world.keyring.revoke(key.id)
    ends = await asyncio.gather(*holding, return_exceptions=True)
    assert [str(end) for end in ends[:2]] == ["The key was revoked"] * 2
    assert all(isinstance(end, Unauthorized) for end in ends[:2])
    assert isinstance(ends[2], asyncio.CancelledError), "somebody else has cancelled it as well"
    with pytest.raises(Unauthorized, match="revoked"), admission.while_valid(who):
        raise AssertionError("the key does not work any more")


async def test_streams_end_when_their_key_expires(world: KeyWorld) -> None:
    _, secret = await world.keyring.create("ada", Role.USER, expires_at=world.now_ms + 20)
    admission = world.admission()
    who = admission.admit(secret, "a").principal

    async def hold() -> None:
        with admission.while_valid(who):
            await asyncio.Event().wait()

    holding = asyncio.create_task(hold())
    # By the host's clock, which may be set, and not by the time that has passed.
    done, _ = await asyncio.wait([holding], timeout=0.04)
    assert not done
    world.now_ms += 20
    with pytest.raises(Unauthorized, match="expired"):
        await asyncio.wait_for(holding, SECONDS)


async def test_streams_over_the_control_socket_never_expire(world: KeyWorld) -> None:
    with world.admission().while_valid(Admission.local):
        await asyncio.sleep(0)


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "a\n", "ä"])
async def test_bad_names_and_expiry_are_rejected(world: KeyWorld, name: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        await world.keyring.create(name, Role.USER, expires_at=world.now_ms)
    assert [violation.field for violation in caught.value.violations] == ["name", "expires_at"]
    assert world.store.keys == {}


async def test_last_use_shows_at_once_and_is_stored_later(world: KeyWorld) -> None:
    key, secret = await world.keyring.create("ada", Role.USER)
    admission = world.admission()
    for _ in range(100):
        world.now_ms += 1
        admission.admit(secret, "a")
    assert world.store.writes == 1, "a request never waits for this write"
    assert world.keyring.list()[0].last_used_at == world.now_ms
    async with world.keyring.saving_use():
        pass
    assert world.store.writes == 2
    assert world.store.keys[key.id].last_used_at == world.now_ms
    await world.keyring.save_use()
    assert world.store.writes == 2


async def test_saving_the_use_never_undoes_a_revocation(world: KeyWorld) -> None:
    key, secret = await world.keyring.create("ada", Role.USER)
    world.admission().admit(secret, "a")
    await world.keyring.revoke(key.id)
    await world.keyring.save_use()
    assert world.store.keys[key.id].revoked_at is not None
    assert world.keyring.find(secret) is None
