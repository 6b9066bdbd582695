"""The options of `fetchml serve`, which other commands also take."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fetchml.cli.errors import CommandError, ExitCode
from fetchml.config.loader import ConfigError, load


def data_dir_option(help_text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option `--data-dir` for a command that works on a data directory itself."""
    return click.option(
        "--data-dir",
        type=click.Path(path_type=Path),
        envvar="FETCHML_DATA_DIR",
        show_envvar=True,
        metavar="DIR",
        help=help_text,
    )


def settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--config` and a flag for each common setting to a command, and pass it `settings`."""

    @click.option(
        "--config",
        type=click.Path(path_type=Path),
        envvar="FETCHML_CONFIG",
        show_envvar=True,
        metavar="FILE",
        help="Settings file, in TOML.",
    )
    @click.option("--data-dir", metavar="DIR", help="Folder for all data of the server.")
    @click.option("--http", metavar="HOST:PORT", help="Address of REST. Default: 127.0.0.1:9101.")
    @click.option("--grpc", metavar="HOST:PORT", help="Address of gRPC. Default: 127.0.0.1:9102.")
    @click.option(
        "--launcher", metavar="docker|process|slurm", help="How to run tasks. Default: docker."
    )
    @click.option(
        "--log-format", metavar="text|json", help="Format of the log on stderr. Default: text."
    )
    @functools.wraps(command)
    def with_settings(
        config: Path | None,
        data_dir: str | None,
        http: str | None,
        grpc: str | None,
        launcher: str | None,
        log_format: str | None,
        **options: Any,
    ) -> Any:
        values = {
            "data_dir": data_dir,
            "http": http,
            "grpc": grpc,
            "launcher": launcher,
            "log_format": log_format,
        }
        flags = {name: value for name, value in values.items() if value is not None}
        try:
            settings = load(config, flags=flags)
        except ConfigError as error:
            raise CommandError(str(error), code=ExitCode.USAGE) from error
        return command(settings=settings, **options)

    return with_settings
