"""The files of the page: their headers, variants, and what a browser may keep."""

import re

import pytest
from yarl import URL

from tests.support.front import EDGE
from tests.support.rest_world import Reply, World


async def text_of(rest: World, path: str, **headers: str) -> Reply:
    """Ask for a file of the page, which is no operation of the API."""
    client = rest.as_(None)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    url = URL(client.base + path, encoded=True)
    async with client.session.get(url, headers=named, allow_redirects=False) as reply:
        return Reply(reply.status, reply.headers, await reply.read())


async def asset_path(rest: World) -> str:
    found = re.search(
        r'src="(/ui/assets/[\w.-]+\.js)"', (await text_of(rest, "/ui/")).body.decode()
    )
    assert found
    return found[1]


@pytest.mark.fronts(EDGE)
async def test_page_is_served_without_a_key_under_a_strict_policy(rest: World) -> None:
    reply = await text_of(rest, "/ui/")
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
    assert reply.headers["Cache-Control"] == "no-cache"
    policy = reply.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "*" not in policy
    assert not re.search(rb"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", reply.body)
    for name, value in (
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
    ):
        assert reply.headers[name] == value


@pytest.mark.parametrize("path", ["/", "/ui"])
async def test_short_paths_lead_to_the_page(rest: World, path: str) -> None:
    reply = await text_of(rest, path)
    assert (reply.status, reply.headers["Location"]) == (302, "/ui/")


async def test_views_are_the_page_and_missing_assets_are_not(rest: World) -> None:
    page = await text_of(rest, "/ui/")
    assert (await text_of(rest, "/ui/tasks/0197f6d2?state=failed")).body == page.body
    reply = await text_of(rest, "/ui/assets/main-OLD.js")
    assert (reply.status, reply.code) == (404, "NOT_FOUND")


async def test_nothing_but_the_page_is_served(rest: World) -> None:
    for path in ["/ui/../server.py", "/ui/%2e%2e/routes.py", "/ui/assets/..%2f..%2froutes.py",

    "/ui//etc/passwd", "/ui/.made-from", "/ui/index.html.gz", "/ui/assets/%00"]:  # fmt: skip
        reply = await text_of(rest, path)
        page = await text_of(rest, "/ui/")
        assert reply.status == 404 or reply.body == page.body


async def test_assets_are_kept_for_ever_and_sent_compressed(rest: World) -> None:
    path = await asset_path(rest)
    session, url = rest.as_(None).session, rest.as_(None).url(path)
    plain = await text_of(rest, path, Accept_Encoding="identity")
    assert plain.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert plain.headers["Vary"] == "Accept-Encoding"
    assert "Content-Encoding" not in plain.headers
    etags = {plain.headers["ETag"]}
    for accepted, chosen in (("gzip", "gzip"), ("gzip, br", "br"), ("br;q=0, gzip;q=0.5", "gzip")):
        async with session.get(
            url, headers={"Accept-Encoding": accepted}, auto_decompress=False
        ) as reply:
            assert reply.headers["Content-Encoding"] == chosen
            assert len(await reply.read()) < len(plain.body) / 2
            etags.add(reply.headers["ETag"])
    assert len(etags) == 3
    again = await text_of(
        rest, path, Accept_Encoding="identity", If_None_Match=plain.headers["ETag"]
    )
    assert (again.status, again.body) == (304, b"")
