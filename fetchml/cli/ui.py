"""`fetchml ui`"""

import click

from fetchml.cli.browser import open_link
from fetchml.cli.connect import json_option, server_option
from fetchml.cli.render import console, print_result
from fetchml.client import Client, Rpc
from fetchml.v1 import key_pb2


@click.command()
@click.option("--open", "opens", is_flag=True, help="Open the page in a browser here.")
@server_option
@json_option
def ui(client: Client, *, opens: bool, as_json: bool) -> None:
    """Print a link that signs a browser in to the page, with the key of this command.

    The link works once, for two minutes. The page shows the account and asks before it signs in.
    From another machine, run it on the server's machine, through
    'ssh -L 9101:127.0.0.1:9101 HOST'.

    \b
    Examples:
      fetchml ui
      fetchml ui --open
    """
    request = key_pb2.CreateSignInCodeRequest()
    method = "KeyService/CreateSignInCode"
    made = client.call(Rpc(method, request, key_pb2.CreateSignInCodeResponse, repeatable=False))
    print_result(made, made.url, as_json=as_json)
    hints = console(stderr=True)
    if hints.is_terminal:
        hints.print("It signs in once, within two minutes.", style="dim")
    if opens:
        open_link(made.url)
