"""The search space of a sweep: the values of its parameters, and the combinations that tasks get.

Numbers are doubles, as in JSON: a whole number is written without a decimal point, any other one in
the shortest form that names it exactly. So the same sweep gets the same texts from every client.

A random draw is the same on every machine: a hash of the seed, the parameter's name and the task's
index. It depends on nothing else: neither on other parameters, nor on the number of samples, nor on
the order of the draws.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from decimal import Context, Decimal
from functools import lru_cache
from typing import Annotated, NamedTuple

from msgspec import Meta

from fetchml.core.requests.checks import Rule, Violation
from fetchml.core.sweeps.model import Mode

MAX_TASKS = 10_000
"""Tasks of one sweep."""
MAX_VALUE_CHARACTERS = 1024
MAX_EXACT = 2**53
"""Whole numbers up to this are exact in a double."""
MAX_SHOWN = 120
"""Characters of a parameter's description."""

_text = Rule(Annotated[str, Meta(max_length=MAX_VALUE_CHARACTERS)]).fault


class Choices(NamedTuple):
    """A parameter with given values."""

    texts: tuple[str, ...]
    is_range: bool = False

    @property
    def described(self) -> str:
        """The values for people, shortened."""
        texts = self.texts
        if self.is_range and len(texts) > 3:
            return f"{texts[0]}, {texts[1]} … {texts[-1]}"[:MAX_SHOWN]
        shown = ""
        for number, value in enumerate(texts):
            more = f", {value}" if number else value
            if len(shown) + len(more) > MAX_SHOWN - 20:
                return f"{shown or value[: MAX_SHOWN - 20]} … ({len(texts)} values)"
            shown += more
        return shown


class Draw(NamedTuple):
    """A parameter that is drawn at random between two bounds."""

    low: float
    high: float
    is_log: bool
    """Its logarithm is uniform."""

    @property
    def described(self) -> str:
        name = "log_uniform" if self.is_log else "uniform"
        return f"{name}({number_text(self.low)}, {number_text(self.high)})"


Axis = Choices | Draw
KINDS = ("values", "range", "uniform", "log_uniform")


def read_axis(definition: object) -> Axis | str:
    """Return the values of one parameter in a request, or its fault."""
    if not isinstance(definition, Mapping):
        return f"must be an object with one of {', '.join(KINDS)}"
    named = [kind for kind in KINDS if kind in definition]
    if len(named) != 1 or len(definition) != 1:
        return f"must have exactly one of {', '.join(KINDS)}"
    kind = named[0]
    items = definition[kind]
    if not isinstance(items, Sequence) or isinstance(items, str):
        return f"{kind} must be a list"
    if kind == "values":
        return _values(items)
    numbers: list[float] = []
    for item in items:
        if isinstance(item, bool) or not isinstance(item, int | float) or not _is_exact(item):
            return f"{kind} must hold finite numbers"
        numbers.append(item)
    if kind == "range":
        return _range(numbers)
    if len(numbers) != 2 or not numbers[0] < numbers[1]:
        return f"{kind} must be [low, high], with low below high"
    if kind == "log_uniform" and numbers[0] <= 0:
        return "log_uniform must have bounds above 0"
    return Draw(float(numbers[0]), float(numbers[1]), kind == "log_uniform")


def value_text(value: object) -> str | None:
    """The text of a value; `None` if it is not a string, number or Boolean."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and _is_exact(value):
        return number_text(value)
    return None


def number_text(value: float) -> str:
    if abs(value) <= MAX_EXACT and value == int(value):
        return str(int(value))
    return repr(float(value))


def _is_exact(value: float) -> bool:
    if isinstance(value, int):
        return abs(value) <= MAX_EXACT
    return math.isfinite(value)


def _values(items: Sequence[object]) -> Axis | str:
    if not 1 <= len(items) <= MAX_TASKS:
        return f"values must have 1 to {MAX_TASKS} items"
    texts: list[str] = []
    for index, item in enumerate(items):
        text = value_text(item)
        if text is None:
            return f"values: item {index} must be a string, a Boolean or a number up to 2^53"
        if wrong := _text(text):
            return f"values: item {index} {wrong}"
        texts.append(text)
    return Choices(tuple(texts))


def _range(numbers: Sequence[float]) -> Axis | str:
    if len(numbers) not in (2, 3):
        return "range must be [first, last] or [first, last, step]"
    # Decimals: 0.1, 0.2, 0.3 instead of 0.30000000000000004.
    first, last = (Decimal(repr(number)) for number in numbers[:2])
    step = Decimal(repr(numbers[2])) if len(numbers) == 3 else Decimal(1)
    if not step or (last - first) / step < 0:
        return "range must have a step that leads from the first value to the last"
    if (last - first) / step >= MAX_TASKS:
        return f"range must not have more than {MAX_TASKS} values"
    count = int((last - first) / step) + 1
    texts = tuple(number_text(float(first + step * index)) for index in range(count))
    return Choices(texts, is_range=True)


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
        offset = _CONTEXT.multiply(_CONTEXT.subtract(high, low), Decimal(at))
        number = float(_CONTEXT.exp(_CONTEXT.add(low, offset)))
    else:
        number = draw.low * (1 - at) + draw.high * at
    rounded = float(f"{number:.{DIGITS}g}")
    return min(max(rounded, draw.low), draw.high)


@lru_cache(maxsize=1024)
def _logarithm(bound: float) -> Decimal:
    """The bounds of a sweep are the same for all of its tasks, and take longer than a draw."""
    return _CONTEXT.ln(Decimal(bound))


def combination(
    axes: Sequence[tuple[str, Axis]], mode: Mode, index: int, drawn: Sequence[float]
) -> dict[str, str]:
    """Return the values of the task with this index, from 0. `axes`: in the order of their names.
    `drawn`: as `draw` returns it, for the mode RANDOM."""
    if mode is Mode.RANDOM:
        return {
            name: number_text(number) if isinstance(axis, Draw) else axis.texts[int(number)]
            for (name, axis), number in zip(axes, drawn, strict=True)
        }
    texts: dict[str, str] = {}
    # The last parameter of a grid changes fastest.
    for name, axis in reversed(axes):
        if isinstance(axis, Choices):
            texts[name] = axis.texts[index % len(axis.texts)]
            if mode is Mode.GRID:
                index //= len(axis.texts)
    return dict(reversed(texts.items()))


def total(axes: Mapping[str, Axis], mode: Mode, samples: object) -> int | Violation:
    """Return the number of combinations, or the rule that they break."""
    if mode is Mode.RANDOM:
        return samples if isinstance(samples, int) else 0
    lengths = {name: len(axis.texts) for name, axis in axes.items() if isinstance(axis, Choices)}
    if mode is Mode.ZIP:
        if len(set(lengths.values())) == 1:
            return next(iter(lengths.values()))
        some = ", ".join(f"{name} has {number}" for name, number in sorted(lengths.items()))
        rule = f"mode zip needs the same number of values for each: {some[:500]}"
        return Violation("parameters", rule)
    product = math.prod(lengths.values())
    if product <= MAX_TASKS:
        return product
    factors = " x ".join(str(number) for _, number in sorted(lengths.items()))
    rule = f"give {factors} = {product} tasks, and a sweep has at most {MAX_TASKS}"
    return Violation("parameters", f"{rule}: use fewer values, or mode random with samples")


def draw(axes: Sequence[tuple[str, Axis]], seed: int, index: int) -> list[float]:
    """Draw a number for each parameter: its value, or the place of its value in the list."""
    numbers: list[float] = []
    for name, axis in axes:
        at = fraction(seed, name, index)
        numbers.append(drawn(axis, at) if isinstance(axis, Draw) else int(at * len(axis.texts)))
    return numbers
