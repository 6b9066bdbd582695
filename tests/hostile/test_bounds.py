"""The sum of all memory limits fits into what the service unit grants."""

from fetchml import bounds, service_unit
from fetchml.settings import Settings


def test_all_bounds_together_fit_into_the_service_unit() -> None:
    most = bounds.total_bytes(Settings())
    assert most < service_unit.MEMORY_MAX_GIB << 30, bounds.memory_bounds(Settings())
