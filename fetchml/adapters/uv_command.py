"""The command line of uv for an environment, the same for every builder."""

from collections.abc import Mapping
from typing import NamedTuple

from fetchml.ports.environment_builder import NO_PYTHON, NO_UV, VERSIONS

SCRIPT = f"""set -eu
cd "$BUILD_SOURCE"
python=${{BUILD_PYTHON:-}}
[ -n "$python" ] || python=$(command -v python3) || python=$(command -v python) || exit {NO_PYTHON}
"$BUILD_UV" --version >/dev/null || exit {NO_UV}
"$BUILD_UV" venv --quiet --allow-existing --relocatable --no-project --python "$python" \\
    "$BUILD_ENVIRONMENT"
export VIRTUAL_ENV="$BUILD_ENVIRONMENT" UV_PYTHON="$BUILD_ENVIRONMENT/bin/python"
[ ! -f "$HOME/{VERSIONS}" ] || export UV_CONSTRAINT="$HOME/{VERSIONS}"
install() {{ "$BUILD_UV" pip install --python "$UV_PYTHON" "$@"; }}
case "$BUILD_KIND" in
requirements | script) install -r "$BUILD_PATH" ;;
locked)
    "$BUILD_UV" export --quiet --script "$BUILD_PATH" --locked --output-file "$HOME/locked.txt"
    install -r "$HOME/locked.txt"
    ;;
project)
    cd "$BUILD_PATH"
    UV_PROJECT_ENVIRONMENT="$BUILD_ENVIRONMENT" "$BUILD_UV" sync --locked --no-dev \\
        --no-install-project --no-editable --python "$python"
    ;;
esac
"""
"""For `sh -c`. A project's `uv sync` gets the interpreter itself: the environment is its target."""


class UvOptions(NamedTuple):
    """Where uv finds packages, by the settings."""

    index_url: str | None = None
    find_links: str | None = None
    """A folder by its path in the build, or a URL."""
    certificates: str | None = None
    """File of the certificate authorities that uv trusts instead of its own."""
    offline: bool = False
    """Only `find_links` is used, and no network."""


def variables(options: UvOptions) -> Mapping[str, str]:
    """Return the environment variables of uv that don't depend on the build."""
    environment = {
        # Hard links would let a change of one environment reach the others.
        "UV_LINK_MODE": "copy",
        # Environments are read-only: Python can't write its bytecode later.
        "UV_COMPILE_BYTECODE": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_PROGRESS": "1",
        "UV_NO_ENV_FILE": "1",
        "NO_COLOR": "1",
    }
    if options.index_url is not None:
        environment["UV_DEFAULT_INDEX"] = options.index_url
    if options.find_links is not None:
        environment["UV_FIND_LINKS"] = options.find_links
    if options.certificates is not None:
        environment["SSL_CERT_FILE"] = options.certificates
    if options.offline:
        environment["UV_OFFLINE"] = "1"
    return environment
