"""Admission within the limits of keys and addresses."""

import pytest

from fetchml.auth.limits import RateLimiter, RateState
from fetchml.core.model import Role
from fetchml.errors import RateLimited, Unauthorized
from tests.support.keys import KeyWorld


async def test_each_key_has_its_own_limit(world: KeyWorld) -> None:
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


async def test_wrong_keys_are_limited_by_address_and_lock_no_valid_key_out(world: KeyWorld) -> None:
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
    assert admission.admit(secret, "1.2.3.4").principal.user
