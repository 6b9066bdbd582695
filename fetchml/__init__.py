"""FetchML: runs training tasks on a GPU box, one after the other."""

__version__ = "0.1.0"
