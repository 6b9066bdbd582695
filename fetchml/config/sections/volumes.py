"""Volumes."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from fetchml.config.sections.types import Count, Text
from fetchml.core.requests import volumes

VolumeName = Annotated[str, Meta(pattern=f"^{volumes.PATTERN}$", max_length=volumes.MAX_NAME)]


class VolumeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[volumes.NAME]`"""

    path: Path
    mode: Literal["ro", "rw"] = "ro"
    users: tuple[Text, ...] = ()
    max_gb: Count = 0
    """GiB; 0: no limit."""
