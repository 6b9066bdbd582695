from pathlib import Path

import pytest

from tests.gpu.stand_in import GpuBox, build


@pytest.fixture(scope="session")
def gpu_libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nvidia")
    build(folder)
    return folder


@pytest.fixture
def gpu_box(tmp_path: Path, gpu_libraries: Path, monkeypatch: pytest.MonkeyPatch) -> GpuBox:
    """A machine with a driver and no GPU, until the test says which."""
    box = GpuBox(tmp_path / "nvidia", gpu_libraries)
    box.set()
    box.enter(monkeypatch)
    return box
