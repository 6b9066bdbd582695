"""Settings of keys, private mode and rate limits."""

from typing import Annotated

import msgspec

from fetchml.config.sections.types import AtLeastOne, about


class AuthSettings(msgspec.Struct, frozen=True):
    """`[auth]`"""

    private: Annotated[
        bool,
        about(
            "If `true`, users see only their own tasks, snapshots, experiments and Jupyter "
            "services. Admins see everything."
        ),
    ] = False


class RateLimitSettings(msgspec.Struct, frozen=True):
    """`[rate_limit]`"""

    enabled: Annotated[bool, about("Limit the request rate of each key.")] = True
    per_second: Annotated[
        AtLeastOne, about("Sustained request rate per key, in requests per second.")
    ] = 1000
    burst: Annotated[AtLeastOne, about("Requests that a key may send in one burst.")] = 5000
