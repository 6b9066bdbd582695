"""Samples of GPUs, from the readings of the inventory to the history."""

from typing import Any

import pytest

from fetchml.core.model import Principal, Role
from fetchml.engine.usage.sampler import LARGEST
from tests.support.memory_engine import MemoryEngine, memory_engine
from tests.support.stub_gpus import StubInventory, reading
from tests.support.waiting import until_true

USER = Principal("user", Role.USER, "key")


def plant(engine: MemoryEngine, *readings: Any) -> None:
    """The inventory's newest readings."""
    inventory = StubInventory()
    inventory._on_change = lambda _: None
    inventory.see(*readings)
    engine.parts.sampler._inventory = inventory


async def test_readings_become_samples() -> None:
    async with memory_engine() as engine:
        held = reading(0, uuid="slot-0", used_mb=1 << 50, utilisation_percent=97, power_w=300)
        plant(
            engine,
            held,
            reading(1, temperature_c=None),
            reading(2, lost="it has fallen off the bus"),
            reading(3, trouble="the driver does not answer"),
        )
        engine.parts.state.gpus.holders["slot-0"] = {"t": 1}  # type: ignore[assignment]
        await engine.parts.sampler.sample()
        del engine.parts.state.gpus.holders["slot-0"]
        first, second = engine.store.usage.gpus
        assert (first.uuid, first.held, first.utilisation, first.power) == ("slot-0", True, 97, 300)
        assert first.memory == LARGEST, "a value that does not fit harms nothing"
        assert (second.uuid, second.held, second.temperature) == ("GPU-1000", False, None)
        assert first.at == second.at
        await until_true(lambda: engine.parts.clock() > first.at)
        history = await engine.engine.usage.of_gpus(USER, None, None, None)
        tracks = {track.uuid: track for track in history.gpus}
        assert [point.held for point in tracks["slot-0"].points] == [1]
        assert tracks["GPU-1000"].name == ""


@pytest.mark.parametrize("samples", [False, True])
async def test_samples_can_be_turned_off(samples: bool) -> None:
    async with memory_engine() as engine:
        plant(engine, reading(0))
        engine.parts.sampler._samples = samples
        async with engine.parts.sampler.sampling():
            pass
        await engine.parts.sampler.sample()
        assert bool(engine.store.usage.gpus) is samples
        assert engine.store.usage.until > 0, "the sums go on"
