"""Types that settings share."""

from typing import Annotated

from msgspec import Meta


def about(text: str, *, default: str | None = None) -> Meta:
    """Describe a setting. `default` is in words, for a default that depends on the host."""
    return Meta(description=text, extra={"default": default} if default else None)


Count = Annotated[int, Meta(ge=0, lt=1 << 31)]
Percent = Annotated[int, Meta(ge=1, le=100)]
AtLeastOne = Annotated[int, Meta(ge=1, lt=1 << 31)]
Days = Annotated[int, Meta(ge=0, le=36_500)]
Text = Annotated[str, Meta(min_length=1)]
Domain = Annotated[
    str, Meta(pattern=r"^\*(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+$", max_length=200)
]
"""`*.HOST`, in small letters."""
