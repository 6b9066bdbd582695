"""The host that the server runs on."""

import os


def cores() -> int:
    return os.cpu_count() or 1


def memory_mb() -> int:
    """In MiB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20


def memory_gb() -> int:
    """In whole GiB."""
    return memory_mb() >> 10
