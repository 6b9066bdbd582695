"""A browser that is signed in to a server."""

from playwright.async_api import Browser, BrowserContext, expect

from benchmarks.processes import KEY, Server

# When the first panel with content is there, and every task of the main thread over 50 ms.
OBSERVE = """
window.longest = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.longest = Math.max(window.longest, entry.duration);
}).observe({type: "longtask"});
new MutationObserver(() => {
  if (window.usefulAt === undefined && document.querySelector("main .gpu-card, main .task-link"))
    window.usefulAt = performance.now();
}).observe(document, {subtree: true, childList: true});
"""


async def signed_in(browser: Browser, server: Server) -> BrowserContext:
    """Return a context whose pages are signed in as the administrator."""
    context = await browser.new_context(viewport={"width": 1440, "height": 900})
    await context.add_init_script(OBSERVE)
    page = await context.new_page()
    await page.goto(f"http://{server.http}/ui/")
    await page.get_by_label("API key").fill(KEY)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.locator(".live")).to_have_text("Live")
    await page.close()
    return context
