"""Settings of entering tasks."""

from typing import Annotated

import msgspec

from fetchml.config.sections.types import Count, about


class AccessSettings(msgspec.Struct, frozen=True):
    """`[access]`"""

    enabled: Annotated[
        bool,
        about(
            "Owners of running tasks, and admins, may run commands in them and reach their ports."
        ),
    ] = True
    idle_seconds: Annotated[
        Count,
        about(
            "Seconds without input and output after which a session in a task is ended. 0: never."
        ),
    ] = 3600
    max_seconds: Annotated[
        Count, about("Seconds after which a session in a task is ended in any case. 0: never.")
    ] = 43_200
