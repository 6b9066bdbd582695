"""Batch scripts of Slurm: their `#SBATCH` lines, and how they are run as a task."""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from fetchml.cli.slurm.options import FLAGS, INSTEAD, OPTIONS, SHORT, BadOption, Request

MAX_SCRIPT_CHARACTERS = 32 * 1024 - 1
"""The server's limit of one argument."""
_SHELLS = frozenset({"ash", "bash", "dash", "ksh", "sh", "zsh"})


class BadScript(Exception):
    """The message is for users."""


@dataclass(frozen=True)
class Directive:
    """One option, and its place: a line of the script, or the command line."""

    name: str
    value: str | None
    where: str


@dataclass
class Problems:
    unsupported: list[str] = field(default_factory=list)
    """Options without a counterpart, each with its place and the command to use instead."""
    wrong: list[str] = field(default_factory=list)


def directives(text: str) -> list[tuple[str, list[str]]]:
    """Return the words of each `#SBATCH` line with its place. As in Slurm, the lines end at the
    first command. Raises BadScript."""
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#SBATCH"):
            where = f"line {number}"
            try:
                words = shlex.split(line.removeprefix("#SBATCH"), comments=True)
            except ValueError as error:
                raise BadScript(f"{where}: {error}") from error
            lines.append((where, words))
        elif line.strip() and not line.startswith("#"):
            break
    return lines


def split(words: Sequence[str], where: str) -> tuple[list[Directive], list[str]]:
    """Return the leading options among the words, and the words after them. Raises
    BadScript."""
    options: list[Directive] = []
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        if word.startswith("--"):
            name, equals, text = word[2:].partition("=")
            value = text if equals else None
        else:
            name = SHORT.get(word[1]) or word[1]
            value = word[2:].removeprefix("=") or None
        if name in OPTIONS and name not in FLAGS and value is None:
            if not rest:
                raise BadScript(f"{where}: --{name} needs a value")
            value = rest.pop(0)
        options.append(Directive(name, value, where))
    return options, rest


def read(options: Iterable[Directive], problems: Problems) -> Request:
    """Return the request of the options. A later option replaces an earlier one."""
    request = Request()
    for each in options:
        shown = f"--{each.name}" if len(each.name) > 1 else f"-{each.name}"
        action = OPTIONS.get(each.name)
        if action is None:
            instead = INSTEAD.get(each.name)
            problems.unsupported.append(
                f"{each.where}: {shown}" + (f": {instead}" if instead else "")
            )
            continue
        try:
            action(request, each.value or "")
        except BadOption as error:
            problems.wrong.append(f"{each.where}: {shown}: {error}")
    try:
        request.finish()
    except BadOption as error:
        problems.wrong.append(str(error))
    return request


def command_of(text: str, name: str, arguments: Sequence[str]) -> tuple[str, ...]:
    """Return the command that runs a script's text, as Slurm runs its copy of it. Raises
    BadScript."""
    interpreter = _interpreter(text)
    program = next((PurePath(w).name for w in interpreter if PurePath(w).name != "env"), "")
    if program not in _SHELLS and not program.startswith("python"):
        raise BadScript(
            f"{program or 'nothing'} can't run it from a task's command: give --chdir with the "
            "folder of the script"
        )
    if len(text) > MAX_SCRIPT_CHARACTERS:
        raise BadScript(
            f"it has more than {MAX_SCRIPT_CHARACTERS} characters: give --chdir with the folder "
            "of the script"
        )
    zero = (name,) if program in _SHELLS else ()
    return (*interpreter, "-c", text, *zero, *arguments)


def command_of_file(text: str, path: str, arguments: Sequence[str]) -> tuple[str, ...]:
    """Return the command that runs a script that is a file of the workspace. Raises BadScript."""
    return (*_interpreter(text), path, *arguments)


def _interpreter(text: str) -> list[str]:
    """Return the words of a script's first line. Raises BadScript."""
    first = text.split("\n", 1)[0]
    try:
        words = shlex.split(first[2:]) if first.startswith("#!") else []
    except ValueError as error:
        raise BadScript(f"line 1: {error}") from error
    if not words:
        raise BadScript("its first line must name an interpreter, such as #!/bin/bash")
    return words
