"""The shell in a running task."""

import pytest
from playwright.async_api import expect

from tests.support.program import Server
from tests.support.signed_in import sign_in
from tests.ui.conftest import OpenTab

pytestmark = pytest.mark.slow

HOSTILE = (
    r"printf '<img src=x onerror=executed(1)>\033]0;title\007\033]52;c;ZXZpbA==\007"
    r"\033]8;;javascript:executed(2)\033\\link\033]8;;\033\\ pla''nted\n'"
)


async def test_shell_in_a_running_task(server: Server, tab: OpenTab) -> None:
    task_id = await server.submit_running("sleep 1000", env={"GREETING": "hello"})
    opened = await tab()
    page = await sign_in(opened, server, at=f"tasks/{task_id}")
    await page.get_by_role("link", name="Shell").click()
    terminal = page.get_by_role("log", name="Terminal")
    typed = page.get_by_role("textbox", name="Terminal input")
    await expect(typed).to_be_focused()
    await page.keyboard.type("echo $GREETING fro''m $(stty size | wc -w)")
    await page.keyboard.press("Enter")
    await expect(terminal).to_contain_text("hello from 2")
    await opened.check_accessible()

    await page.keyboard.type(HOSTILE)
    await page.keyboard.press("Enter")
    await expect(terminal).to_contain_text("<img src=x onerror=executed(1)>link planted")
    await expect(terminal.get_by_role("link")).to_have_count(0)
    assert await page.title() != "title"

    await page.keyboard.type("yes flooding")
    await page.keyboard.press("Enter")
    await expect(terminal).to_contain_text("flooding")
    await page.keyboard.press("Control+c")
    await page.keyboard.type("echo cal''m; exit 3")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("The shell ended with exit code 3.")).to_be_visible()
    await expect(terminal).to_contain_text("calm")
    await page.get_by_role("button", name="Open another one").click()
    await expect(typed).to_be_focused()

    # Tab belongs to the terminal: another key leaves it.
    await page.keyboard.press("Tab")
    await expect(typed).to_be_focused()
    await page.keyboard.press("Control+m")
    await expect(typed).not_to_be_focused()
    await page.get_by_role("button", name="Cancel").click()
    await page.get_by_role("button", name="Cancel the task").click()
    await expect(page.get_by_text("The session ended with its task.")).to_be_visible()
    await expect(page.get_by_role("link", name="Shell")).to_have_count(0)
