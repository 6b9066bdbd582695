"""The cache of environments: complete or absent, in use or removable, after any restart."""

import os
from pathlib import Path

import pytest

from fetchml.environments.cache import EnvironmentCache, Record
from fetchml.ports.environment_builder import ENVIRONMENT, HOME, SOURCE

SIZE = 1000
OWNER = (os.geteuid(), os.getegid())


def cache(
    folder: Path, *, most_bytes: int = 1 << 40, live: frozenset[str] = frozenset()
) -> "Cache":
    opened = EnvironmentCache(folder / "environments", most_bytes=most_bytes)
    opened.open(live)
    return opened


Cache = EnvironmentCache


def built(found: Cache, name: str, *, user: str = "bob", size: int = SIZE) -> str:
    """Build an environment with one file; returns its id."""
    environment_id = name.ljust(64, "0")
    draft = found.draft()
    found.begin(draft, OWNER, {"requirements.txt": b"a\n"})
    (draft / ENVIRONMENT / "file").write_text(name)
    found.keep(
        draft,
        Record(environment_id, user, "requirements", "requirements.txt", "image", 1, size, 1),
    )
    found.discard(draft)
    return environment_id


def idle(_: str) -> bool:
    return False


def ids(found: Cache) -> set[str]:
    return {record.id for record in found.records()}


def test_environment_is_found_after_a_restart(tmp_path: Path) -> None:
    one = built(cache(tmp_path), "one")
    again = cache(tmp_path)
    path = again.hold(one, "t-1")
    assert path is not None
    assert (path / "file").read_text() == "one"
    assert again.hold("two".ljust(64, "0"), "t-1") is None


def test_unfinished_environments_are_removed_at_the_start(tmp_path: Path) -> None:
    first = cache(tmp_path)
    one = built(first, "one")
    draft = first.draft()
    first.begin(draft, OWNER, {"a/requirements.txt": b"a\n"})
    assert (draft / SOURCE / "a/requirements.txt").read_bytes() == b"a\n"
    assert list((draft / HOME).iterdir()) == []
    # A power cut may have left the folder of an environment without its record, or a wrong one.
    ready = first.folder / "ready"
    (ready / "two" / ENVIRONMENT).mkdir(parents=True)
    (ready / "three").mkdir()
    (ready / "three" / "record").write_text('{"id": ')

    # A server of an earlier release may have ended before it recorded uv's cache.
    (first.folder / "packages" / "bobs").mkdir()

    again = cache(tmp_path)

    assert draft.exists()  # A build of the earlier server may write there until it is ended.
    again.remove_unfinished()
    assert list((first.folder / "packages").iterdir()) == []
    assert ids(again) == {one}
    assert [each.name for each in ready.iterdir()] == [one]
    assert list((first.folder / "new").iterdir()) == []


def test_least_recently_used_goes_first(tmp_path: Path) -> None:
    found = cache(tmp_path, most_bytes=3 * SIZE)
    one, two, three = (built(found, name) for name in ("one", "two", "three"))
    for each in (two, one, three):
        found.hold(each, "t-1")
        found.release("t-1")
    four = built(found, "four")
    found.hold(four, "t-4")
    assert found.make_room(idle) == 0
    assert ids(found) == {one, three, four}


def test_nothing_in_use_is_removed(tmp_path: Path) -> None:
    found = cache(tmp_path, most_bytes=SIZE)
    one, two = built(found, "one"), built(found, "two")
    found.hold(one, "t-1")
    found.hold(two, "t-2")
    assert found.make_room(idle) == SIZE
    assert ids(found) == {one, two}
    assert not found.remove(found.records()[0], idle)
    assert found.unused(idle) == []
    found.release("t-1")
    assert found.make_room(idle) == 0
    assert ids(found) == {two}


def test_attempts_that_run_hold_theirs_after_a_restart(tmp_path: Path) -> None:
    first = cache(tmp_path)
    one, two = built(first, "one"), built(first, "two")
    first.hold(one, "runs-1")
    first.hold(two, "ended-1")
    again = cache(tmp_path, most_bytes=0, live=frozenset({"runs-1"}))
    again.make_room(idle)
    assert ids(again) == {one}
    again.release("runs-1")
    assert again.make_room(idle) == 0
    assert ids(again) == set()


def test_caches_of_uv_count_and_are_removed_unless_busy(tmp_path: Path) -> None:
    found = cache(tmp_path, most_bytes=0)
    one = built(found, "one")
    folder = found.packages("bobs", "bob", OWNER)
    (folder / "wheel").write_bytes(b"0" * 100_000)
    found.packages_used("bobs", "bob")
    assert found.used()["bob"].bytes > 100_000
    assert cache(tmp_path).used() == found.used()
    found.hold(one, "t-1")
    assert found.make_room(lambda name: name == "bobs") > 0
    assert folder.exists()
    found.make_room(idle)
    assert not folder.exists()
    assert ids(found) == {one}


@pytest.mark.parametrize("uses", [1, 2])
def test_second_build_of_the_same_is_dropped(tmp_path: Path, uses: int) -> None:
    found = cache(tmp_path)
    for _ in range(uses):
        one = built(found, "one")
    assert ids(found) == {one}
    assert list((found.folder / "new").iterdir()) == []
