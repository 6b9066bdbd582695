"""FetchML: a job server for machine-learning training on machines with GPUs."""

__version__ = "0.1.0"
