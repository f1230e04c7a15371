"""Large files, folders and archives from a real browser: in parts, with pauses, over a line that fails."""

import hashlib
import io
import secrets
import zipfile

import pytest
from fpdf import FPDF
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Site
from tests.browser.test_whole_way import PASSWORD

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(240)]
MB = 1 << 20
SIZE = 20 * MB
NOTES = """
  window.notes = [];
  new MutationObserver(() => window.notes.push(document.querySelector(".upload-note")?.textContent ?? ""))
    .observe(document.getElementById("upload-list"), { childList: true, subtree: true });
"""
"""Remembers what is told of an upload, however short a time it is shown."""


@pytest.fixture
def library(site: Site, visit) -> Page:
    page = visit(signed_in=False, expected="Failed to load resource")
    page.goto(f"{site.url}/accounts/signup/")
    page.get_by_label("Username").fill(f"carrier-{secrets.token_hex(4)}")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password (again)").fill(PASSWORD)
    page.get_by_role("button", name="Sign up").click()
    page.goto(f"{site.url}/library/")
    return page


@pytest.fixture
def large(tmp_path):
    """One page with a large attachment: in text of this size, embedding it would take all that tests have of a core."""
    made = FPDF()
    made.add_page()
    made.set_font("Helvetica")
    made.cell(text="Water is wet.")
    made.embed_file(basename="padding.bin", bytes=secrets.token_bytes(SIZE), compress=False)
    path = tmp_path / "large.pdf"
    path.write_bytes(bytes(made.output()))
    return path


def stored(page: Page, content: bytes) -> bool:
    documents = page.request.get("/api/v1/documents".join([page.url.split("/library")[0], ""])).json()["results"]
    url = f"{page.url.split('/library')[0]}/api/v1/documents/{documents[0]['id']}/file"
    return hashlib.sha256(page.request.get(url).body()).digest() == hashlib.sha256(content).digest()


def test_a_large_file_goes_in_parts_is_paused_and_survives_a_line_that_fails(library, large):
    parts, fail = [], {"next": True}

    def flaky(route: Route) -> None:
        parts.append(int(route.request.headers.get("upload-offset", -1)))
        if len(parts) == 2 and fail.pop("next", None):
            route.abort("connectionreset")
        else:
            route.continue_()

    library.route(
        "**/api/v1/uploads/*", lambda route: flaky(route) if route.request.method == "PATCH" else route.continue_()
    )
    library.evaluate(NOTES)
    library.locator("input[type=file]:not([webkitdirectory])").set_input_files(large)
    library.wait_for_function("() => window.notes.some((note) => note.includes('again in'))")
    expect(library.locator("#documents").get_by_role("link", name="large.pdf")).to_be_visible(timeout=60_000)
    assert parts == [0, 8 * MB, 8 * MB, 16 * MB]
    assert stored(library, large.read_bytes())
    assert library.evaluate("Object.keys(localStorage).filter((key) => key.startsWith('ragsite-upload'))") == []


def test_a_paused_upload_goes_on_also_after_the_page_was_loaded_anew(library, large):
    held = []
    library.route(
        "**/api/v1/uploads/*", lambda route: held.append(route) if _is_second(route) and not held else route.continue_()
    )
    library.locator("input[type=file]:not([webkitdirectory])").set_input_files(large)
    button = library.get_by_role("button", name="Pause")
    expect(button).to_be_visible()
    while not held:
        library.wait_for_timeout(50)
    button.click()
    expect(library.locator(".upload-note")).to_have_text("Paused")
    library.get_by_role("button", name="Go on").click()
    library.once("dialog", lambda dialog: dialog.accept())
    library.reload()
    offsets = []
    library.on(
        "request",
        lambda request: offsets.append(request.headers.get("upload-offset")) if request.method == "PATCH" else None,
    )
    library.locator("input[type=file]:not([webkitdirectory])").set_input_files(large)
    expect(library.locator("#documents").get_by_role("link", name="large.pdf")).to_be_visible(timeout=60_000)
    assert "0" not in offsets
    assert stored(library, large.read_bytes())


def _is_second(route: Route) -> bool:
    return route.request.method == "PATCH" and route.request.headers.get("upload-offset") == str(8 * MB)


def test_a_folder_is_uploaded_without_what_hides_in_it_and_an_archive_is_unpacked(library, tmp_path):
    folder = tmp_path / "papers"
    (folder / "inner").mkdir(parents=True)
    (folder / "one.txt").write_text("The first paper.")
    (folder / "inner" / "two.txt").write_text("The second paper.")
    (folder / ".hidden.txt").write_text("Not this.")
    library.locator("input[webkitdirectory]").set_input_files(folder)
    for name in ("one.txt", "two.txt"):
        expect(library.locator("#documents").get_by_role("link", name=name)).to_be_visible()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("three.txt", "The third paper.")
    library.locator("input[type=file]:not([webkitdirectory])").set_input_files(
        {"name": "more.zip", "mimeType": "application/zip", "buffer": packed.getvalue()}
    )
    expect(library.locator(".upload-note", has_text="see Imports")).to_be_visible()
    library.get_by_role("link", name="From a web address").click()
    expect(library.get_by_text("1 new")).to_be_visible(timeout=30_000)
    library.goto(library.url.replace("/imports/", "/"))
    expect(library.locator("#documents").get_by_role("link", name="three.txt")).to_be_visible()
    expect(library.locator("#documents").get_by_text(".hidden.txt")).to_have_count(0)
