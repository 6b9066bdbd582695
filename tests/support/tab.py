"""A tab of a real browser that notices what must never happen on the page."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import Browser, BrowserContext, Page

from tests.support.validate import ROOT
from tests.support.waiting import SECONDS

AXE = ROOT / "web/node_modules/axe-core/axe.min.js"
PHONE = (390, 844)
DESKTOP = (1440, 900)
_SERIOUS = ("serious", "critical")
_WATCH = """
addEventListener("securitypolicyviolation", (event) =>
  reportViolation(`${event.effectiveDirective}: ${event.blockedURI} ${event.sample}`));
"""


@dataclass
class Tab:
    """`page` is playwright's. Each tab has cookies and storage of its own."""

    context: BrowserContext
    page: Page
    violations: list[str] = field(default_factory=list)
    """Violations of the policy, in all pages of the context."""
    errors: list[str] = field(default_factory=list)
    """Exceptions that no script caught."""
    executed: list[str] = field(default_factory=list)
    """Arguments of `executed(what)`, which planted scripts call."""

    async def check_accessible(self) -> None:
        """Nothing serious is found by axe-core in what the tab shows now."""
        assert AXE.exists(), "run build/web.sh build"
        if not await self.page.evaluate("'axe' in window"):
            await self.page.evaluate(AXE.read_text())
        found: dict[str, Any] = await self.page.evaluate(
            "axe.run({resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', "
            "'wcag21aa', 'wcag22aa', 'best-practice']})"
        )
        serious = [
            f"{rule['id']}: {rule['help']}: {[node['html'][:200] for node in rule['nodes'][:3]]}"
            for rule in found["violations"]
            if rule["impact"] in _SERIOUS
        ]
        assert serious == [], (self.page.url, serious)

    def assert_clean(self) -> None:
        """No planted script ran, the policy was not violated, and no exception was lost."""
        found = (self.executed, self.violations, self.errors)
        assert found == ([], [], []), found


@asynccontextmanager
async def open_tab(
    browser: Browser,
    size: tuple[int, int] = DESKTOP,
    *,
    dark: bool = False,
    **options: Any,
) -> AsyncIterator[Tab]:
    """`options`: of playwright's `new_context`."""
    context = await browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if dark else "light",
        **options,
    )
    context.set_default_timeout(SECONDS * 1000)
    tab = Tab(context, await context.new_page())
    context.on("weberror", lambda error: tab.errors.append(str(error.error)))
    await context.expose_function("reportViolation", lambda what: tab.violations.append(str(what)))
    await context.expose_function("executed", lambda what: tab.executed.append(str(what)))
    await context.add_init_script(_WATCH)
    yield tab
    await context.close()
    tab.assert_clean()
