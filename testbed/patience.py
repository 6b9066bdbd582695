"""How long tests and benchmarks wait for what should happen by itself."""

SECONDS = 120
"""Far longer than anything takes, also on a busy machine at half speed: a longer limit costs
nothing until something fails."""
