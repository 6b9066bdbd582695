"""Every `fetchml` command that a page shows exists, with the options that the page gives it."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from fetchml.cli.main import fetchml
from fetchml.core.requests.submission import PROJECT_RULES
from tests.support.validate import ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "build/client.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
VIEWS = sorted((ROOT / "web/src").rglob("*.tsx"))


def shown(page: Path) -> Iterator[list[str]]:
    """Yield the words of each command after `fetchml`, without its comment and its arguments."""
    for block in re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL):
        for line in re.findall(r"^[$#] (.*)", block, re.MULTILINE):
            for part in re.split(r"\s#\s|\s&\s|[|;)]", line):
                if found := re.search(r"(?:^|do |\()\s*(?:sudo )?fetchml ([a-z].*)", part):
                    yield re.split(r"\s--\s", found[1])[0].split()


def named(text: str) -> Iterator[list[str]]:
    """Yield the words of each command that a sentence names in backquotes.

    Without options of groups, and without sbatch, whose options are Slurm's; the signer of a
    release is called `fetchml` too.
    """
    for found in re.findall(r"`fetchml (?!sbatch|ssh-ed25519)([a-z][^`]*)`", text):
        yield re.sub(r"--data-dir DIR ", "", re.split(r"\s--\s", found)[0]).split()


def named_in_view(text: str) -> Iterator[list[str]]:
    """Yield the words of each command that a text of the page names, as far as they are in small
    letters."""
    for found in re.findall(r"\bfetchml ((?:[a-z-]+\b ?)+)", text):
        yield found.split()


def problem(words: list[str]) -> str | None:
    command: click.Command = fetchml
    while isinstance(command, click.Group) and words:
        nested = command.get_command(click.Context(command), words[0])
        if nested is None:
            return f"no command {words[0]}"
        command, words = nested, words[1:]
    known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
    given = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    for word in [word for word in given - known if re.fullmatch("-[a-z]{2,}", word)]:
        given = given - {word} | {f"-{letter}" for letter in word[1:]}  # -it is -i -t.
    return f"{command.name} has no {given - known}" if given - known else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_shown_commands_exist(page: Path) -> None:
    assert [found for words in shown(page) if (found := problem(words))] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_named_commands_exist(page: Path) -> None:
    assert [found for words in named(page.read_text()) if (found := problem(words))] == []


def test_commands_that_the_page_names_exist() -> None:
    texts = [view.read_text() for view in VIEWS]
    commands = [words for text in texts for words in named_in_view(text)]
    assert len(commands) >= 5
    assert [found for words in commands if (found := problem(words))] == []


def test_the_pages_show_commands() -> None:
    assert sum(len(list(shown(page))) for page in PAGES) > 40


def test_unknown_commands_and_options_are_found() -> None:
    assert problem(["sumbit"]) == "no command sumbit"
    assert problem(["ls", "--limmit", "3"]) == "ls has no {'--limmit'}"


def test_snapshots_page_has_every_setting_of_a_project() -> None:
    page = (ROOT / "docs/snapshots.md").read_text()
    shown = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)[0]
    named = {*tomllib.loads(shown), *re.findall(r"A table `\[(\w+)\]`", page)}
    assert named == set(PROJECT_RULES)
