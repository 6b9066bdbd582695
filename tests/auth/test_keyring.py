"""Keys and admission, over a store in memory."""

import asyncio
import logging
from typing import Any

import pytest

from fetchml.auth.keyring import Admission, BadAdminKey, Keyring, ensure_admin
from fetchml.auth.limits import RateLimiter, RateState
from fetchml.core.model import Key, Principal, Role
from fetchml.errors import NotFound, RateLimited, Unauthorized, ValidationFailed


class KeyStore:
    """The part of the Store port that keys need."""

    def __init__(self) -> None:
        self.keys: dict[str, Key] = {}
        self.writes = 0

    async def put_key(self, key: Key) -> None:
        self.keys[key.id] = key
        self.writes += 1

    async def list_keys(self) -> list[Key]:
        return list(self.keys.values())


class World:
    """A keyring with a clock to turn."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000
        self.store = KeyStore()
        self.ids = 0
        self.keyring = self.restart()

    def restart(self) -> Keyring:
        store: Any = self.store
        return Keyring(store, clock_ms=lambda: self.now_ms, new_id=self.new_id)

    def new_id(self) -> str:
        self.ids += 1
        return f"key-{self.ids:02}"

    def admission(self, limiter: RateLimiter | None = None) -> Admission:
        return Admission(self.keyring, lambda: self.now_ms / 1000, limiter=limiter)


def never(_: str) -> None:
    raise AssertionError("there is nothing to keep")


@pytest.fixture
def world() -> World:
    return World()


async def test_a_key_opens_and_its_secret_is_stored_nowhere(world: World) -> None:
    key, secret = await world.keyring.create("ada", Role.USER)
    admitted = world.admission().admit(secret, "1.2.3.4")
    assert admitted == (Principal("ada", Role.USER, key.id, "1.2.3.4"), None)
    assert len(secret) == len("fml_") + 43
    assert secret not in repr(world.store.keys)
    assert secret[4:] not in repr(world.keyring.list())


@pytest.mark.parametrize("secret", [None, "", "fml_wrong", "ключ", "\ud800", "x" * 100_000])
async def test_wrong_keys_are_refused(world: World, secret: str | None) -> None:
    await world.keyring.create("ada", Role.USER)
    with pytest.raises(Unauthorized):
        world.admission(RateLimiter(1, 1)).admit(secret, "1.2.3.4")


async def test_a_revoked_key_is_refused_at_once_and_after_a_restart(world: World) -> None:
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


async def test_a_key_expires(world: World) -> None:
    _, secret = await world.keyring.create("ada", Role.USER, expires_at=world.now_ms + 10)
    admission = world.admission()
    admission.admit(secret, "a")
    world.now_ms += 10
    with pytest.raises(Unauthorized):
        admission.admit(secret, "a")


async def test_what_a_key_holds_open_ends_when_it_is_revoked(world: World) -> None:
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


async def test_what_a_key_holds_open_ends_when_it_expires(world: World) -> None:
    _, secret = await world.keyring.create("ada", Role.USER, expires_at=world.now_ms + 20)
    admission = world.admission()
    who = admission.admit(secret, "a").principal

    async def hold() -> None:
        with admission.while_valid(who):
            await asyncio.Event().wait()

    holding = asyncio.create_task(hold())
    # By the machine's clock, not by the time that has passed: that may be set.
    done, _ = await asyncio.wait([holding], timeout=0.04)
    assert not done
    world.now_ms += 20
    with pytest.raises(Unauthorized, match="expired"):
        await asyncio.wait_for(holding, 5)


async def test_what_the_owner_of_the_box_holds_open_never_ends(world: World) -> None:
    with world.admission().while_valid(Admission.local):
        await asyncio.sleep(0)


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "a\n", "ä"])
async def test_bad_names_and_expiry_are_refused(world: World, name: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        await world.keyring.create(name, Role.USER, expires_at=world.now_ms)
    assert [violation.field for violation in caught.value.violations] == ["name", "expires_at"]
    assert world.store.keys == {}


async def test_last_use_is_seen_at_once_and_written_apart(world: World) -> None:
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


async def test_saving_the_use_never_undoes_a_revocation(world: World) -> None:
    key, secret = await world.keyring.create("ada", Role.USER)
    world.admission().admit(secret, "a")
    await world.keyring.revoke(key.id)
    await world.keyring.save_use()
    assert world.store.keys[key.id].revoked_at is not None
    assert world.keyring.find(secret) is None


async def test_each_key_has_its_limit(world: World) -> None:
    _, ada = await world.keyring.create("ada", Role.USER)
    _, bob = await world.keyring.create("bob", Role.USER)
    admission = world.admission(RateLimiter(per_second=1, burst=2))
    assert admission.admit(ada, "a").limit == RateState(2, 1, 1)
    admission.admit(ada, "a")
    with pytest.raises(RateLimited) as caught:
        admission.admit(ada, "b")
    assert caught.value.retry_after == 1
    admission.admit(bob, "a")
    world.now_ms += 1000
    admission.admit(ada, "a")


async def test_wrong_keys_are_limited_by_address_and_lock_nobody_else_out(world: World) -> None:
    _, secret = await world.keyring.create("ada", Role.USER)
    admission = world.admission(RateLimiter(per_second=100, burst=100))
    refusals: list[type[Exception]] = []
    for _ in range(60):
        with pytest.raises((Unauthorized, RateLimited)) as caught:
            admission.admit("wrong", "1.2.3.4")
        refusals.append(caught.type)
    assert refusals == [Unauthorized] * 50 + [RateLimited] * 10
    with pytest.raises(Unauthorized):
        admission.admit("wrong", "5.6.7.8")
    assert admission.admit(secret, "1.2.3.4")


async def test_the_first_start_makes_a_key_and_keeps_it_before_it_counts(world: World) -> None:
    kept: list[tuple[str, int]] = []

    def keep(secret: str) -> None:
        kept.append((secret, len(world.store.keys)))

    secret = await ensure_admin(world.keyring, None, keep)
    assert secret is not None
    assert kept == [(secret, 0)]
    assert world.admission().admit(secret, "a").principal.role is Role.ADMIN
    assert await ensure_admin(world.keyring, None, never) is None, "only where there is none"


async def test_the_first_key_can_be_given(world: World) -> None:
    wanted = "a-key-of-my-own-choice"
    assert await ensure_admin(world.keyring, wanted, never) is None
    assert world.admission().admit(wanted, "a").principal.role is Role.ADMIN


@pytest.mark.parametrize(
    "wanted", ["short", "with a space in it", "ключ-ключ-ключ-ключ", "x" * 257]
)
async def test_a_weak_first_key_is_refused(world: World, wanted: str) -> None:
    with pytest.raises(BadAdminKey) as caught:
        await ensure_admin(world.keyring, wanted, never)
    assert wanted not in str(caught.value)
    assert world.store.keys == {}


async def test_a_later_admin_key_is_ignored_with_a_warning(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.keyring.create("ada", Role.USER)
    with caplog.at_level(logging.WARNING):
        await ensure_admin(world.keyring, "another-key-of-mine", never)
    assert "FETCHML_ADMIN_KEY is not a key of this server" in caplog.text
    assert "another-key-of-mine" not in caplog.text
    assert len(world.store.keys) == 1
