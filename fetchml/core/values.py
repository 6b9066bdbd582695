"""The base of all values."""

import msgspec


class Value(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Base of values that refer to no cycle. Untracked by the garbage collector, which would
    otherwise stop the server while it traverses all live tasks."""
