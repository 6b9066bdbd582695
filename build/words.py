"""Check the words of the documentation, of the command line's help, and of docstrings: `words.py`.

Software reports, returns, shows and rejects. It does not tell, say or know, and a subject has a
name. This check finds the words that usually stand for neither. A docstring, a comment of the
API's source or a description begins with an imperative or a noun, not with a question word. Code
is not checked.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from fetchml.cli.main import fetchml

ROOT = Path(__file__).parents[1]
PAGES = (
    "*.md",
    "docs/**/*.md",
    "build/*.md",
    "envoy/*.md",
    "examples/*/README.md",
    "shim/*.md",
    "fetchml/api/rest/openapi.yaml",
    "proto/fetchml/**/*.proto",
)
WORDS = {
    r"tells?|told|telling": "report, show, return, log",
    r"sa(ys?|id|ying)": "report, show, state",
    r"knows?|knew": "have, store, recognize; 'unknown' for what is not there",
    r"who(m|ever)?": "name the person or the part",
    r"what (is|was|are|were|has|had|can't|can|lies|runs|waits|goes|comes|ended)": "name the thing",
    r"box(es)?": "host",
    r"(it|they|that) (wants?|thinks?|believes?)": "need, expect",
    r"anew": "again",
    r"so (many|often|much)": "name the number",
    r"is none|are none": "is not valid, does not exist",
    r"others'": "of other users",
}
QUESTIONS = "What|Who|Whom|How|Why"
OPENING_ADVICE = "begin with an imperative or a noun: 'Return …', 'The reason why …'"
VERBS = re.compile(r"\b(tells?|told|telling|says?|said|knows?|knew|sees|wants?)\b", re.IGNORECASE)
BEGINNINGS = {
    ".proto": re.compile(rf"\s*// ({QUESTIONS})\b"),
    ".yaml": re.compile(rf"\s*(?:description|summary): ['\"]?({QUESTIONS})\b"),
}
ALLOWED = (
    "people who", "people whom", "everyone who", "users who", "users, who", "user who", "of whom",
    "there is none",
)  # fmt: skip
"""Phrases around a listed word that are plain English."""

LISTED = re.compile("|".join(rf"\b({words})\b" for words in WORDS), re.IGNORECASE)
CODE = re.compile(r"```.*?```|`[^`\n]*`|\]\([^)]*\)|https?://\S+|<!--.*?-->", re.DOTALL)


def findings(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line number and the word of each finding."""
    prose = CODE.sub(lambda code: re.sub(r"[^\n]", " ", code[0]), text)
    for number, line in enumerate(prose.splitlines(), 1):
        for found in LISTED.finditer(line):
            around = line[max(found.start() - 20, 0) : found.end() + 20].lower()
            if not any(phrase in around for phrase in ALLOWED):
                yield number, found[0]


def comments(proto: str) -> str:
    """Return the text with everything but comments blanked."""
    return "\n".join(line if line.lstrip().startswith("//") else "" for line in proto.splitlines())


def openings(page: Path, text: str) -> Iterator[tuple[int, str]]:
    """Yield the line number and the question word of each comment of the API's source, or
    description, that begins with one."""
    before = ""
    for number, line in enumerate(text.splitlines(), 1):
        opening = BEGINNINGS[page.suffix].match(line) if page.suffix in BEGINNINGS else None
        if opening and not (page.suffix == ".proto" and before.lstrip().startswith("//")):
            yield number, opening[1]
        before = line


def docstrings(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line number and the text of each docstring, those of attributes included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            for statement in node.body:
                match statement:
                    case ast.Expr(value=ast.Constant(value=str() as text)):
                        yield statement.lineno, text


def unclear(docstring: str) -> Iterator[tuple[str, str]]:
    """Yield the question word that a docstring begins with, and verbs that make a person of the
    software, each with advice."""
    if opening := re.match(rf"({QUESTIONS})\b", docstring):
        yield opening[0], OPENING_ADVICE
    for found in VERBS.finditer(CODE.sub(" ", docstring)):
        yield found[0], "report, show, return, have"


def help_texts(command: click.Command, path: str) -> Iterator[tuple[str, str]]:
    context = click.Context(command)
    yield path, f"{command.help or ''}\n{command.epilog or ''}"
    for option in command.params:
        if isinstance(option, click.Option):
            yield f"{path} {option.opts[-1]}", option.help or ""
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            nested = command.get_command(context, name)
            assert nested is not None
            yield from help_texts(nested, f"{path} {name}")


def main() -> int:
    texts: list[tuple[str, str]] = []
    count = 0
    for pattern in PAGES:
        for page in sorted(ROOT.glob(pattern)):
            text = page.read_text()
            prose = comments(text) if page.suffix == ".proto" else text
            texts.append((str(page.relative_to(ROOT)), prose))
            for number, word in openings(page, text):
                count += 1
                print(f"{page.relative_to(ROOT)}:{number}: '{word}': {OPENING_ADVICE}")
    texts += help_texts(fetchml, "fetchml")
    for place, text in texts:
        for number, word in findings(text):
            count += 1
            print(f"{place}:{number}: '{word}': {advice(word)}")
    for module in sorted((ROOT / "fetchml").rglob("*.py")):
        for number, docstring in docstrings(module.read_text()):
            for word, instead in unclear(docstring):
                count += 1
                print(f"{module.relative_to(ROOT)}:{number}: '{word}': {instead}")
    return 1 if count else 0


def advice(word: str) -> str:
    matching = (text for words, text in WORDS.items() if re.fullmatch(words, word, re.IGNORECASE))
    return next(matching)


if __name__ == "__main__":
    sys.exit(main())
