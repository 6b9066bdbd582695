"""Limits on what a task may request, and the defaults of requests without one."""

from collections.abc import Mapping

from fetchml.core.model import Resources, Value
from fetchml.core.requests.checks import Violation
from fetchml.core.scheduling.resources import excess


class TaskLimits(Value, frozen=True):
    """Settings of the host's owner; 0 means no limit or no default."""

    cpu: int = 0
    """Default number of cores."""
    memory_gb: int = 0
    """Default memory in GiB."""
    timeout_seconds: int = 0
    """Default time limit."""
    max_cpu: int = 0
    max_memory_gb: int = 0
    max_timeout_seconds: int = 0

    def filled(self, fields: Mapping[str, object]) -> dict[str, object]:
        """Cores and memory of a request, with the defaults filled in."""
        if not self.cpu and not self.memory_gb:
            return {}
        given = {"cpu": self.cpu, "memory_gb": self.memory_gb}
        most = {"cpu": self.max_cpu, "memory_gb": self.max_memory_gb}
        return {
            name: min(number, most[name] or number)
            for name, number in given.items()
            if number and not fields.get(name)
        }

    def timeout(self, fields: Mapping[str, object]) -> int:
        """Time limit of a valid request."""
        asked = fields.get("timeout_seconds", self.timeout_seconds)
        most = self.max_timeout_seconds
        if not isinstance(asked, int):
            return most
        return min(asked or most, most) if most else asked


_MAXIMUMS = (("cpu", "max_cpu"), ("memory_gb", "max_memory_gb"), ("gpu", ""))
"""The setting that limits each resource; none for GPUs."""


def resource_violations(
    fields: Mapping[str, object], capacity: Resources, limits: TaskLimits
) -> list[Violation]:
    """Return the violations of a request for more than the host has or a task may have."""
    found = []
    for name, maximum in _MAXIMUMS:
        if name not in fields or not isinstance(asked := fields[name], int):
            continue
        may = getattr(limits, maximum) if maximum else 0
        if fault := excess(asked, getattr(capacity, name)):
            found.append(Violation(name, fault))
        elif may and asked > may:
            found.append(
                Violation(name, f"asks for {asked}, a task may have {may} ([tasks] max_{name})")
            )
    return found


def timeout_violations(fields: Mapping[str, object], limits: TaskLimits) -> list[Violation]:
    """Return the violation of a request for more time than a task may have."""
    asked, most = fields.get("timeout_seconds"), limits.max_timeout_seconds
    if not most or not isinstance(asked, int) or 0 < asked <= most:
        return []
    what = f"asks for {asked}" if asked else "asks for no limit"
    rule = f"{what}, a task may run for {most} s ([tasks] max_timeout_seconds)"
    return [Violation("timeout_seconds", rule)]
