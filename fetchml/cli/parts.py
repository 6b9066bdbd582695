"""The parts of FetchML: the client is always installed, the server with the extra `server`."""

from importlib.util import find_spec

from fetchml.cli.errors import CommandError


def has_server() -> bool:
    return find_spec("fetchml.server") is not None


def require_server(what: str) -> None:
    """Raise a CommandError if the server is not installed. `what` needs it."""
    if not has_server():
        raise CommandError(
            f"{what} needs the package fetchml-server, which is not installed",
            "Run \"uv tool install 'fetchml[server]'\", or, in a virtual environment, "
            "\"pip install 'fetchml[server]'\".",
        )
