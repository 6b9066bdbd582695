"""Implementations of the contracts in `ports`."""
