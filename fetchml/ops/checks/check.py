"""The result of one check."""

import msgspec


class Check(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str
    finding: str
    fix: str = ""
    """What to do about a problem; empty if there is none."""
    advice: str = ""
    """What would be safer, although everything works; empty if there is nothing."""

    @property
    def ok(self) -> bool:
        return not self.fix
