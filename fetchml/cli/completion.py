"""`fetchml completion`"""

import click

from fetchml.cli.completions import SHELLS, script


@click.command()
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands, options, ids and names in a shell.

    Ids complete from the start, from their last part, and from a job's or an experiment's name.

    \b
    Examples:
      source <(fetchml completion bash)         # in ~/.bashrc
      source <(fetchml completion zsh)          # in ~/.zshrc, after compinit
      fetchml completion fish > ~/.config/fish/completions/fetchml.fish
    """
    click.echo(script(shell, ctx.find_root().command))
