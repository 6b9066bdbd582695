"""The sum of all memory limits fits into what the service unit grants."""

from fetchml.config.settings import Settings
from fetchml.ops import bounds, systemd_unit


def test_sum_of_all_memory_limits_fits_service_unit() -> None:
    most = bounds.total_bytes(Settings())
    assert most < systemd_unit.MEMORY_MAX_GIB << 30, bounds.memory_bounds(Settings())
