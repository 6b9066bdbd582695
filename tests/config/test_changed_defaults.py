"""CHANGELOG lists the defaults that reject more than before, and the values that restore it."""

import re
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, NamedTuple, get_args, get_origin

import pytest

from fetchml import pages
from fetchml.api.grpc import receiving
from fetchml.api.http import body, connection
from fetchml.api.rest.server import HttpTimeouts
from fetchml.config.loader import load
from fetchml.config.settings import Setting, all_settings
from fetchml.core import snapshots
from fetchml.core.requests import checks

CHANGELOG = Path(__file__).parents[2] / "CHANGELOG.md"
HEAD = "| setting | default | before | restores it |\n"
ROW = re.compile(r"\| `(\[\w+\] \w+)` \| (.+) \| (.+) \| (.+) \|")
SETTINGS = {str(each): each for each in all_settings()}

AS_BEFORE = {
    # Without a limit unless somebody sets one.
    "[gpu] slots",
    "[quotas] user_gpus",
    "[quotas] user_running",
    "[tasks] cpu",
    "[tasks] max_cpu",
    "[tasks] max_memory_gb",
    "[tasks] max_timeout_seconds",
    "[tasks] memory_gb",
    "[tasks] outputs_keep_days",
    "[tasks] timeout_seconds",
    "[history] keep_days",
    "[slurm] lease_seconds",
    "[slurm] lost_after",
    # The same value before it was a setting, or since the first configuration.
    "[tasks] pids",
    "[tasks] tmp_mb",
    "[tasks] shm_mb",
    "[tasks] first_uid",
    "[tasks] grace_seconds",
    "[tasks] log_bytes",
    "[tasks] max_retries",
    "[tasks] max_running",
    "[tasks] reserve_after",
    "[resources] cpu",
    "[rate_limit] burst",
    "[rate_limit] per_second",
    "[gpu] slots_per_gpu",
    "[scheduling] half_life",
    "[datasets] cache_bytes",
    "[snapshots] keep_days",
    "[snapshots] max_bytes",
    "[snapshots] max_files",
    "[jupyter] idle_seconds",
    "[history] audit_rows",
    "[history] journal_rows",
    "[history] min_free_mb",
    # Of features that came with them.
    "[access] idle_seconds",
    "[access] max_seconds",
    "[environments] cache_bytes",
    "[environments] cpu",
    "[environments] memory_gb",
    "[environments] timeout_seconds",
    "[gpu] idle_percent",
    "[gpu] idle_seconds",
    "[gpu] idle_start_seconds",
    "[gpu] idle_warning_seconds",
    "[gpu] packing_margin_percent",
    "[history] usage_rows",
    "[notifications] retry_seconds",
    "[notifications] timeout_seconds",
    "[notifications] user_messages",
    "[slurm] max_pending",
    "[slurm] user_max_pending",
}
"""Settings with a number that reject no more than before."""


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


def kinds(annotation: Any) -> Iterator[type]:
    """The plain types of a setting, without what is said about them."""
    if get_origin(annotation) is Annotated:
        yield from kinds(get_args(annotation)[0])
    elif args := get_args(annotation):
        for each in args:
            yield from kinds(each)
    elif isinstance(annotation, type) and annotation is not NoneType:
        yield annotation


def has_number(setting: Setting) -> bool:
    return set(kinds(setting.type)) == {int}


def test_each_setting_with_a_number_is_listed_or_as_before() -> None:
    listed = {row.setting for row in rows()}
    numbers = {name for name, setting in SETTINGS.items() if has_number(setting)}
    assert "[tasks] pids" in numbers
    assert numbers - listed == AS_BEFORE, "list it in CHANGELOG, or say here why it need not be"


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
