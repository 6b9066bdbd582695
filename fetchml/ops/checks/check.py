"""The result of one check."""

import msgspec


class Check(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str
    finding: str
    fix: str = ""
    """The remedy of a problem; empty if there is none."""
    advice: str = ""
    """A safer configuration, although everything works; empty if there is none."""

    @property
    def ok(self) -> bool:
        return not self.fix
