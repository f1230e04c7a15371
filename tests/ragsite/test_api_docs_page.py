"""/api/docs/ in a real browser, under its policy."""

import os
import shutil

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.django_db(transaction=True)
def test_the_page_lists_the_endpoints_and_its_policy_blocks_nothing(live_server, monkeypatch):
    monkeypatch.setitem(os.environ, "DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # Playwright runs an event loop in this thread
    told = []
    with playwright.sync_playwright() as player:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        chromium = player.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = chromium.new_page()
        page.on("console", lambda message: told.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: told.append(str(error)))
        page.goto(f"{live_server.url}/api/docs/")
        page.get_by_text("/api/v1/tokens", exact=True).first.wait_for()
        page.locator("#operations-tokens-tokens_create .opblock-summary").click()
        page.get_by_role("button", name="Try it out").click()
        page.get_by_role("button", name="Execute").click()
        page.get_by_text("not_authenticated").first.wait_for()
        chromium.close()
    assert [text for text in told if "401" not in text] == []
