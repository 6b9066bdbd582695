"""Settings whose values are bounded: a range of ports on nodes, and the pause before a retry."""

from pathlib import Path

import pytest

from fetchml.config.loader import ConfigError, load
from fetchml.config.settings import Settings
from fetchml.server.cannot_start import CannotStart
from fetchml.server.slurm_wiring import require_possible


def settings(folder: Path, text: str) -> Settings:
    file = folder / "fetchml.toml"
    file.write_text(text)
    return load(file, {})


@pytest.mark.parametrize("ports", ["0-0", "1024-1024", "40000-40999", "1024-65535"])
def test_ports_on_which_relays_can_listen(tmp_path: Path, ports: str) -> None:
    require_possible(settings(tmp_path, f"[slurm]\nrelay_ports = '{ports}'").slurm.relay_ports)


@pytest.mark.parametrize("ports", ["1023-2000", "40000-65536", "1024-99999", "40999-40000"])
def test_ports_on_which_no_relay_can_listen(tmp_path: Path, ports: str) -> None:
    """The server does not start: else each way into a task would fail."""
    given = settings(tmp_path, f"[slurm]\nrelay_ports = '{ports}'").slurm.relay_ports
    with pytest.raises(CannotStart, match=rf"relay_ports is {ports}: give a range between 1024"):
        require_possible(given)


@pytest.mark.parametrize(
    "ports", ["", "0", "0-1", "40000", "-1-2000", "40000-", "40000-40999\\n", "040000-40999"]
)
def test_text_that_is_no_range_of_ports(tmp_path: Path, ports: str) -> None:
    with pytest.raises(ConfigError, match="relay_ports"):
        settings(tmp_path, f'[slurm]\nrelay_ports = "{ports}"')


@pytest.mark.parametrize("seconds", [0, -1, 3601])
def test_pause_before_a_retry_is_bounded(tmp_path: Path, seconds: int) -> None:
    with pytest.raises(ConfigError, match="retry_seconds"):
        settings(tmp_path, f"[notifications]\nretry_seconds = {seconds}")
