"""Settings of entering tasks."""

from typing import Annotated

import msgspec

from fetchml.config.sections.types import Count, about


class AccessSettings(msgspec.Struct, frozen=True):
    """`[access]`"""

    enabled: Annotated[
        bool,
        about(
            "Allow owners of running tasks, and admins, to run commands in them and reach their "
            "ports."
        ),
    ] = True
    idle_seconds: Annotated[
        Count,
        about(
            "Seconds without input or output after which the server ends a session in a task. 0: "
            "never."
        ),
    ] = 3600
    max_seconds: Annotated[
        Count, about("Maximum duration of a session in a task, in seconds. 0: no limit.")
    ] = 43_200
