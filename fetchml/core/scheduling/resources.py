"""Arithmetic with amounts of resources."""

from collections.abc import Iterator

from fetchml.core.model import Resources


def add(a: Resources, b: Resources) -> Resources:
    return Resources(a.cpu + b.cpu, a.memory_gb + b.memory_gb, a.gpu + b.gpu)


def subtract(a: Resources, b: Resources) -> Resources:
    return Resources(a.cpu - b.cpu, a.memory_gb - b.memory_gb, a.gpu - b.gpu)


def fits(wanted: Resources, free: Resources) -> bool:
    """Whether `free` suffices. What is not requested need not be free."""
    return (
        (not wanted.cpu or wanted.cpu <= free.cpu)
        and (not wanted.memory_gb or wanted.memory_gb <= free.memory_gb)
        and (not wanted.gpu or wanted.gpu <= free.gpu)
    )


def asked_for(wanted: Resources) -> Iterator[str]:
    """Yield the names of the requested resources."""
    for name in Resources.__struct_fields__:
        if getattr(wanted, name):
            yield name


def beyond(wanted: Resources, capacity: Resources) -> list[str]:
    """Return a description of all that exceeds the host; empty if the request can be satisfied."""
    return [
        fault
        for name in asked_for(wanted)
        if (fault := excess(getattr(wanted, name), getattr(capacity, name), f" {name}"))
    ]


def excess(asked: int, has: int, name: str = "") -> str | None:
    """Return why a host with `has` of a resource can never satisfy a request; `None` if it can.

    `name`: the resource, with a blank before it, if the sentence has to name it.
    """
    return f"asks for {asked}{name}, this host has {has}" if asked > has else None


def take(counts: dict[str, int], user: str, number: int) -> None:
    """Subtract from the count of a user or a sweep; a count of 0 has no entry."""
    left = counts[user] - number
    if left:
        counts[user] = left
    else:
        del counts[user]
