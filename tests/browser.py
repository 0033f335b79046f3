"""Pages as a person sees them: Debian's Chromium, driven by Playwright.

`browser.open(page)` opens a file or an address at the width of a phone or a laptop. `problems()` of what it returns is empty for a good page: no errors
of scripts, no request that leaves the machine, nothing wider than the window, nothing cut.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

PHONE, LAPTOP = 390, 1366
"""Widths in pixels."""
HEIGHTS = {PHONE: 844, LAPTOP: 768}
A4 = 794
"""Width in pixels of a sheet of A4, 96 pixels an inch."""
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A page that asks for another machine is noticed, and gets nothing.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
)
OWN_SCHEMES = {"file", "data", "blob", "about"}
OWN_HOSTS = {"127.0.0.1", "localhost", "::1"}

# Elements that reach out of the window, and those that hide or scroll part of their width. What is not shown has no size.
TOO_WIDE = """(allowed) => {
    const width = document.documentElement.clientWidth, found = [];
    const name = (one) => {
        const classes = typeof one.className === "string" && one.className ? "." + one.className.trim().replace(/\\s+/g, ".") : "";
        return one.tagName.toLowerCase() + (one.id ? "#" + one.id : "") + classes + " " + (one.textContent || "").trim().slice(0, 40);
    };
    for (const one of document.querySelectorAll("body *")) {
        if (allowed && one.closest(allowed)) continue;
        const box = one.getBoundingClientRect();
        if (!box.width || !box.height) continue;
        if (box.right > width + 1 || box.left < -1) found.push(name(one) + ": " + Math.round(box.left) + " to " + Math.round(box.right) + " of " + width);
        else if (getComputedStyle(one).overflowX !== "visible" && one.scrollWidth > one.clientWidth + 1 && one.clientWidth > 1)
            found.push(name(one) + ": shows " + one.clientWidth + " of " + one.scrollWidth);
    }
    return found;
}"""


def chromium() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@dataclass
class Opened:
    """An open page, with what went wrong since it was opened."""

    page: Any
    """Of Playwright: `click`, `evaluate`, `locator`, and so on."""
    errors: list[str] = field(default_factory=list)
    """Errors of scripts, messages of the console at that level, and requests that failed."""
    left: list[str] = field(default_factory=list)
    """Addresses of requests to other machines."""

    def too_wide(self, allowed: str = "") -> list[str]:
        """Elements wider than the window or cut, but those inside the CSS selector `allowed`."""
        return self.page.evaluate(TOO_WIDE, allowed)

    def until(self, expression: str, tries: int = 500) -> None:
        """Wait until it is true. Playwright's own waiting evaluates text inside the page, which a page's policy may forbid."""
        for _ in range(tries):
            if self.page.evaluate(expression):
                return
            self.page.wait_for_timeout(20)
        raise AssertionError(f"never true: {expression}")

    def problems(self, allowed: str = "") -> list[str]:
        return [*self.errors, *(f"asked for {address}" for address in self.left), *self.too_wide(allowed)]

    def paper_problems(self, margin_mm: float = 15, allowed: str = "") -> list[str]:
        """What is too wide or cut on A4 with such margins. The page is as on the screen afterwards."""
        size = self.page.viewport_size
        self.page.emulate_media(media="print")
        self.page.set_viewport_size({"width": int(A4 * (1 - 2 * margin_mm / 210)), "height": 900})
        try:
            return self.too_wide(allowed)
        finally:
            # Not "screen", with which PDFs would be of the screen too.
            self.page.emulate_media(media="null")
            self.page.set_viewport_size(size)

    def pdf(self, path: Path) -> Path:
        """The page as it is printed on A4, with the margins of its own style."""
        self.page.pdf(path=str(path), format="A4", print_background=True, prefer_css_page_size=True)
        return path

    def picture(self, path: Path) -> Path:
        """The whole page as a PNG."""
        self.page.screenshot(path=str(path), full_page=True)
        return path


@dataclass
class Browser:
    chromium: Any
    contexts: list[Any] = field(default_factory=list)

    def open(self, address: str | Path, width: int = LAPTOP, *, dark: bool = False) -> Opened:
        """A page in a window of its own, without cookies or history; `address` is a file or a URL."""
        if isinstance(address, Path):
            address = address.resolve().as_uri()
        size = {"width": width, "height": HEIGHTS.get(width, 800)}
        context = self.chromium.new_context(viewport=size, color_scheme="dark" if dark else "light")
        self.contexts.append(context)
        opened = Opened(context.new_page())
        page = opened.page
        page.on("console", lambda message: opened.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: opened.errors.append(str(error)))
        context.on("request", lambda request: None if _own(request.url) else opened.left.append(request.url))
        page.goto(address)
        return opened


def _own(address: str) -> bool:
    parts = urlsplit(address)
    return parts.scheme in OWN_SCHEMES or parts.hostname in OWN_HOSTS


@contextmanager
def started() -> Iterator[tuple[Any, Any]]:
    """Chromium and the event loop that Playwright runs in this thread. Skips the test where one of them is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    path = chromium()
    if path is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as api:
        running = api.chromium.launch(executable_path=path, args=ARGUMENTS)
        loop = asyncio.get_running_loop()
        asyncio._set_running_loop(None)
        try:
            yield running, loop
        finally:
            asyncio._set_running_loop(loop)
            running.close()


@contextmanager
def in_test(running: Any, loop: Any) -> Iterator[Browser]:
    """The browser for one test. Playwright's loop counts as running in this thread only meanwhile: other tests run loops of their own."""
    asyncio._set_running_loop(loop)
    browser = Browser(running)
    try:
        yield browser
        for context in browser.contexts:
            context.close()
    finally:
        asyncio._set_running_loop(None)
