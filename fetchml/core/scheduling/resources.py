"""Arithmetic with what tasks hold and boxes have."""

from collections.abc import Iterable, Iterator

from fetchml.core.model import Resources


def add(a: Resources, b: Resources) -> Resources:
    return Resources(a.cpu + b.cpu, a.memory_gb + b.memory_gb, a.gpu + b.gpu)


def subtract(a: Resources, b: Resources) -> Resources:
    return Resources(a.cpu - b.cpu, a.memory_gb - b.memory_gb, a.gpu - b.gpu)


def fits(wanted: Resources, free: Resources) -> bool:
    """What is not asked for need not be free."""
    return (
        (not wanted.cpu or wanted.cpu <= free.cpu)
        and (not wanted.memory_gb or wanted.memory_gb <= free.memory_gb)
        and (not wanted.gpu or wanted.gpu <= free.gpu)
    )


def asked_for(wanted: Resources) -> Iterator[str]:
    """Names of the resources that it can't do without."""
    for name in Resources.__struct_fields__:
        if getattr(wanted, name):
            yield name


def beyond(wanted: Resources, capacity: Resources) -> list[str]:
    """What can never be had, in words; empty: it can be."""
    return [
        f"asks for {getattr(wanted, name)} {name}, this host has {getattr(capacity, name)}"
        for name in asked_for(wanted)
        if getattr(wanted, name) > getattr(capacity, name)
    ]


def sum_of(parts: Iterable[Resources]) -> Resources:
    total = Resources()
    for part in parts:
        total = add(total, part)
    return total
