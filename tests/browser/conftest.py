"""A real Chromium before the real site: `manage.py up` with its own data folder."""

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from ragsite.layout import Layout
from tests.instance import Instance
from tests.load.mock_model import Server, Times, running_mock

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-quic", "--no-first-run"]
DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
PATIENCE = 20_000
SLOWLY = Times(first=100, delay=100, tokens=600, beat=10)
"""An answer of a minute: time to reload, to look, and to stop it, or to tell the model to hurry."""
ABORTED = ("htmx:afterRequest, ", "htmx:sendAbort, ")
"""What htmx calls an error when a search is replaced by the next one, which is how the pages want it."""


@pytest.fixture(scope="package")
def data_folder(built_model: None, layout: Layout) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ragsite-") as parent:
        data = Path(parent) / "var"
        data.mkdir(mode=0o700)
        (data / "models").symlink_to(layout.models_dir.resolve())
        yield data


@dataclass
class Site:
    """The running site's address; it changes when the site is started anew with other settings."""

    instance: Instance
    model: Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.instance.port}"


@pytest.fixture(scope="package")
def site(data_folder: Path) -> Iterator[Site]:
    """The site without a language model: it answers by quoting."""
    made = Site(Instance(data_folder))
    try:
        made.instance.wait_until_ready()
        yield made
    finally:
        made.instance.end()


@pytest.fixture(scope="package")
def site_with_model(site: Site, data_folder: Path) -> Iterator[Site]:
    """The same site started again with a slow language model: tests with this fixture come last."""
    site.instance.end()
    with running_mock(SLOWLY) as model:
        site.instance = Instance(data_folder, LLM_BASE_URL=f"http://127.0.0.1:{model.port}/v1", LLM_MODEL="mock")
        site.model = model
        site.instance.wait_until_ready()
        yield site


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """Closed after these tests: as long as Playwright runs, Django takes every thread for an asynchronous one."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here: apt-get install chromium")
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield launched
        launched.close()


@dataclass
class Visits:
    """Opens pages, and remembers what went wrong in any of them: every error in a console fails the test."""

    browser: Browser
    state: Path
    errors: list[str] = field(default_factory=list)
    contexts: list[BrowserContext] = field(default_factory=list)

    def __call__(self, signed_in: bool = True, expected: str = "", **options: object) -> Page:
        """``expected`` is a part of the error that this page is to show."""
        state = str(self.state) if signed_in else None
        context = self.browser.new_context(**{"viewport": DESKTOP, "storage_state": state, **options})
        context.set_default_timeout(PATIENCE)
        self.contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: self._note(message, expected))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        return page

    def _note(self, message: ConsoleMessage, expected: str) -> None:
        if message.text.startswith(ABORTED):
            return
        if message.type == "error" and not (expected and expected in message.text):
            self.errors.append(f"{message.text} {message.location}")


@pytest.fixture
def visit(chromium: Browser, data_folder: Path) -> Iterator[Callable[..., Page]]:
    """``visit()``: a page of the person who has signed up."""
    visits = Visits(chromium, data_folder.parent / "state.json")
    yield visits
    for context in visits.contexts:
        context.close()
    assert visits.errors == []


@contextmanager
def answered(page: Page, address: str) -> Iterator[None]:
    """Goes on when what was asked for stands in the page: what is opened before that would be swapped away."""
    with page.expect_response(re.compile(address)):
        yield
    expect(page.locator(".htmx-request")).to_have_count(0)
