"""A sweep's parameters are expanded: how many combinations there are, and the values of each."""

import math
from collections.abc import Mapping, Sequence

from fetchml.core.requests.checks import Violation
from fetchml.core.sweeps import draws
from fetchml.core.sweeps.model import Mode
from fetchml.core.sweeps.values import MAX_TASKS, Axis, Choices, Draw, number_text


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
    found: dict[str, str] = {}
    # The last parameter of a grid changes fastest.
    for name, axis in reversed(axes):
        if isinstance(axis, Choices):
            found[name] = axis.texts[index % len(axis.texts)]
            if mode is Mode.GRID:
                index //= len(axis.texts)
    return dict(reversed(found.items()))


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
        at = draws.fraction(seed, name, index)
        numbers.append(
            draws.drawn(axis, at) if isinstance(axis, Draw) else int(at * len(axis.texts))
        )
    return numbers
