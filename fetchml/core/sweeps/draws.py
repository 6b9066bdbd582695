"""Random draws that are the same on every machine.

A draw is a hash of the seed, the parameter's name and the task's index, so it depends on nothing
else: neither on other parameters, nor on the number of samples, nor on the order of the draws.
"""

import hashlib
from decimal import Context, Decimal
from functools import lru_cache

from fetchml.core.sweeps.values import Draw

DIGITS = 9
"""Significant digits of a drawn number."""

_CONTEXT = Context(prec=25)
"""Decimal logarithms are exact to the last digit everywhere, those of the C library are not."""


def fraction(seed: int, name: str, index: int) -> float:
    """Return a number of [0, 1), uniformly distributed."""
    digest = hashlib.blake2b(f"{seed}/{name}/{index}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def drawn(draw: Draw, at: float) -> float:
    """Return the number at a fraction of the way from the lower bound to the upper one."""
    if draw.is_log:
        low, high = _logarithm(draw.low), _logarithm(draw.high)
        way = _CONTEXT.multiply(_CONTEXT.subtract(high, low), Decimal(at))
        number = float(_CONTEXT.exp(_CONTEXT.add(low, way)))
    else:
        number = draw.low * (1 - at) + draw.high * at
    rounded = float(f"{number:.{DIGITS}g}")
    return min(max(rounded, draw.low), draw.high)


@lru_cache(maxsize=1024)
def _logarithm(bound: float) -> Decimal:
    """The bounds of a sweep are the same for all of its tasks, and take longer than a draw."""
    return _CONTEXT.ln(Decimal(bound))
