"""The context of a call to one of FetchML's own services."""

from collections.abc import Mapping

import msgspec

from fetchml.core.model import Principal


class RpcContext(msgspec.Struct, frozen=True):
    """The parts of a call, besides its request, that a method may use."""

    principal: Principal
    metadata: Mapping[str, str | bytes]
