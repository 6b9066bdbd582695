"""The record of an attempt's GPUs on a node, written there by a helper of the shim
(shim/gpu_samples.py). The task may have forged it."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from fetchml.files import untrusted

NAME = "gpus"
_RECORD_BYTES = 8192
_MOST_GPUS = 64
_VALUE = r"(\d{1,9}|-)"
_GPU = re.compile(rf"gpu(\d{{1,4}})={','.join([_VALUE] * 5)}(?:,{_VALUE})?", re.ASCII)


class GpuMeasurement(NamedTuple):
    """Of one GPU. `None`: the driver does not report it."""

    utilisation_percent: int | None
    used_mb: int | None
    memory_mb: int | None
    temperature_c: int | None
    power_w: int | None
    peak_percent: int | None = None
    """The highest utilisation since the last record; `None` also in records of older releases."""


class GpuRecord(NamedTuple):
    at: str
    """Differs from record to record."""
    gpus: Mapping[int, GpuMeasurement]
    """By the cluster's numbers of the node's GPUs."""


def read_gpus(run_folder: Path) -> GpuRecord | None:
    """Return the record; `None` if there is none, or none that is valid."""
    try:
        folder = os.open(run_folder, untrusted.FOLDER)
        try:
            data = untrusted.read_regular(folder, NAME, 0, _RECORD_BYTES)
        finally:
            os.close(folder)
    except OSError:
        return None
    first, *lines = data.decode(errors="replace").splitlines() or [""]
    if not first.startswith("at_ms=") or len(first) > 40:
        return None
    gpus = {}
    for line in lines[:_MOST_GPUS]:
        if (match := _GPU.fullmatch(line)) is not None:
            number, *values = match.groups()
            gpus[int(number)] = _measurement(values)
    return GpuRecord(first, gpus)


def _measurement(values: list[str | None]) -> GpuMeasurement:
    measurement = GpuMeasurement(*(None if each in ("-", None) else int(each) for each in values))
    if any(
        each is not None and each > 100
        for each in (measurement.utilisation_percent, measurement.peak_percent)
    ):
        return measurement._replace(utilisation_percent=None, peak_percent=None)
    return measurement
