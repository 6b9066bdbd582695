"""Settings of keys, private mode and rate limits."""

from typing import Annotated

import msgspec

from fetchml.config.sections.types import AtLeastOne, about


class AuthSettings(msgspec.Struct, frozen=True):
    """`[auth]`"""

    private: Annotated[
        bool,
        about(
            "Users see only their own tasks, snapshots, experiments and Jupyter services; admins "
            "see all."
        ),
    ] = False


class RateLimitSettings(msgspec.Struct, frozen=True):
    """`[rate_limit]`"""

    enabled: Annotated[bool, about("Limit the requests of each key.")] = True
    per_second: Annotated[
        AtLeastOne, about("Requests per second that a key may make in the long run.")
    ] = 1000
    burst: Annotated[AtLeastOne, about("Requests that a key may make at once after a pause.")] = (
        5000
    )
