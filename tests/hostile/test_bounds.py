"""The sum of all memory limits fits into what the service unit grants."""

import msgspec
import pytest

from fetchml.config.sections.server import ServerSettings
from fetchml.config.settings import Settings
from fetchml.ops import bounds, systemd_unit


@pytest.mark.parametrize("launcher", ["docker", "slurm"])
def test_sum_of_all_memory_limits_fits_service_unit(launcher: str) -> None:
    settings = Settings(server=msgspec.convert({"launcher": launcher}, ServerSettings))
    most = bounds.total_bytes(settings)
    assert most < systemd_unit.MEMORY_MAX_GIB << 30, bounds.memory_bounds(settings)
