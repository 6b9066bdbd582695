"""The grammar of filters and orders of searches for runs."""

from collections.abc import Sequence

from fetchml.core.tracking_filters import Conditions, Order
from fetchml.errors import BadRequest


def parse_filter(text: str) -> Conditions:
    """Parse a filter such as `metrics.loss < 0.1 and params.lr = '0.01'`. Raises BadRequest."""
    if not text.strip():
        return ()
    raise BadRequest("filter: not supported")


def parse_order(texts: Sequence[str]) -> tuple[Order, ...]:
    """Parse orders such as `metrics.loss DESC`. Raises BadRequest."""
    if not texts:
        return ()
    raise BadRequest("order_by: not supported")
