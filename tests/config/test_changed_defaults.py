"""CHANGELOG lists the defaults that reject more than before, and the values that restore it."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from fetchml import pages
from fetchml.api.grpc import receiving
from fetchml.api.http import body, connection
from fetchml.api.rest.server import HttpTimeouts
from fetchml.config.loader import load
from fetchml.config.settings import all_settings
from fetchml.core import snapshots
from fetchml.core.requests import checks

CHANGELOG = Path(__file__).parents[2] / "CHANGELOG.md"
HEAD = "| setting | default | before | restores it |\n"
ROW = re.compile(r"\| `(\[\w+\] \w+)` \| (.+) \| (.+) \| (.+) \|")
SETTINGS = {str(each): each for each in all_settings()}


class Row(NamedTuple):
    setting: str
    default: str
    before: str
    restores: str


def rows() -> list[Row]:
    _, _, table = CHANGELOG.read_text().partition(HEAD)
    lines = table.partition("\n\n")[0].splitlines()[1:]
    found = [ROW.fullmatch(line) for line in lines]
    return [Row(*match.groups()) for match in found if match is not None]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.setting)
def test_row_has_the_default_and_a_value_that_can_be_set(row: Row, tmp_path: Path) -> None:
    assert row.default == SETTINGS[row.setting].default
    if value := re.match("`(.+?)`", row.restores):
        table, name = row.setting.split()
        file = tmp_path / "fetchml.toml"
        file.write_text(f"{table}\n{name} = {value[1]}\n")
        assert load(file, {}) != load(environment={})


def test_limits_without_a_setting_are_those_of_the_code() -> None:
    text, timeouts = CHANGELOG.read_text(), HttpTimeouts()
    for line in (
        f"| {connection.MOST_HEADERS} headers of {connection.LINE_BYTES:,} bytes for the head",
        f"| {receiving.MAX_MESSAGE_BYTES >> 20} MiB for a gRPC message |",
        f"| {checks.MAX_ITEMS:,} entries in `metadata` and in `env` |",
        f"| {snapshots.MAX_PROJECT_FILE_BYTES >> 10} KiB for the `fetchml.toml` of a new snapshot",
        f"| {body.MAX_VALUES:,} values in a JSON body, {checks.MAX_ENTRIES:,} properties in",
        f"| {pages.PAGE_BYTES >> 20} MiB for a page of a list |",
        f"| {timeouts.send} s in which a client reads nothing of a reply |",
    ):
        assert line in text
