"""Groups of commands: aliases, suggestions, and global options before or after a command."""

from collections.abc import Sequence

import click

ALIASES = {"list": "ls", "ps": "ls", "explain": "show"}
"""Other names of commands, in every group that has the command."""
WITH_VALUE = ("--server", "--profile", "--data-dir", "--output", "-o")
FLAGS = ("--json",)


class CommandGroup(click.Group):
    """A group whose commands accept the global options at any position."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, moved_behind(args))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = self.find_command(ctx, cmd_name)
        if command is None and cmd_name in ALIASES:
            command = self.find_command(ctx, ALIASES[cmd_name])
        return command

    def find_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return the command of exactly this name."""
        return super().get_command(ctx, name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            names = self.list_commands(ctx)
            raise click.NoSuchCommand(error.command_name, possibilities=names, ctx=ctx) from None


def moved_behind(args: Sequence[str]) -> list[str]:
    """Move the global options before the first word behind it: `--json ls` becomes `ls --json`."""
    position = 0
    while position < len(args):
        word = args[position]
        if word in WITH_VALUE:
            position += 2
        elif word in FLAGS or word.startswith(tuple(f"{name}=" for name in WITH_VALUE)):
            position += 1
        else:
            break
    options, rest = args[:position], args[position:]
    if not rest or rest[0].startswith("-"):
        return list(rest) if rest else []
    return [rest[0], *options, *rest[1:]]
