"""The whole way in a real browser: sign up, upload, watch, ask, open the citation, see the words marked."""

import io
import re
from pathlib import Path

import pypdfium2
import pytest
from axe_playwright_python.sync_playwright import Axe
from fpdf import FPDF
from PIL import Image
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import PHONE, Site, answered
from tests.instance import until

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(240)]
SHARED_PDF = Path(__file__).parents[3] / "shared" / "data" / "sec10q" / "docs" / "2022 Q3 AAPL.pdf"
PASSWORD = "a long enough phrase"
QUESTION = "How long is the bridge of Arlen?"
ANSWER = "The bridge of Arlen is 742 metres long and carries two lanes."
FILLER = "The town council met in spring and spoke about the harbour, the market and the school at length."


def report() -> bytes:
    """Three pages; the answer stands in the middle of the second."""
    made = FPDF()
    made.set_font("Helvetica", size=12)
    for number in range(3):
        made.add_page()
        for line in range(12):
            text = ANSWER if (number, line) == (1, 6) else f"{FILLER} This is line {line} of part {number}."
            made.multi_cell(0, 8, text, new_x="LMARGIN", new_y="NEXT")
            made.ln(4)
    return bytes(made.output())


REPORT = report()


def file(name: str, content: bytes, kind: str = "application/pdf") -> dict:
    return {"name": name, "mimeType": kind, "buffer": content}


COUNT_REQUESTS = """
  let running = 0;
  window.most = 0;
  const open = XMLHttpRequest.prototype.open;
  XMLHttpRequest.prototype.open = function (method, ...rest) {
    if (method === "POST") {
      running += 1;
      window.most = Math.max(window.most, running);
      this.addEventListener("loadend", () => (running -= 1));
    }
    return open.call(this, method, ...rest);
  };
"""
"""Notes how many POSTs ran at once."""


def ask(page: Page, question: str) -> None:
    page.locator("#content").fill(question)
    page.keyboard.press("Enter")


def problems(page: Page) -> list[tuple[str, str]]:
    """What axe-core finds wrong for people who use a screen reader, a keyboard, or see little contrast."""
    found = Axe().run(page).response["violations"]
    return [(violation["id"], node["html"]) for violation in found for node in violation["nodes"]]


def overflow(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - innerWidth")


def marked_words(page: Page, pdf: bytes | Path) -> str:
    """The words of the PDF that lie under the rectangles shown, read by their places on the paper."""
    number = int(page.locator("#source .page").get_attribute("data-page"))
    paper = pypdfium2.PdfDocument(pdf)[number - 1]
    width, height = paper.get_size()
    sheet = page.locator("#source .sheet").bounding_box()
    words = []
    for rect in page.locator("#source .boxes rect").all():
        box = rect.bounding_box()
        left, top = (box["x"] - sheet["x"]) / sheet["width"], (box["y"] - sheet["y"]) / sheet["height"]
        right, bottom = left + box["width"] / sheet["width"], top + box["height"] / sheet["height"]
        bounds = (left * width - 1, height - bottom * height - 1, right * width + 1, height - top * height + 1)
        words.append(paper.get_textpage().get_text_bounded(*bounds))
    return " ".join(" ".join(words).split())


def wait_for_picture(page: Page) -> None:
    page.wait_for_function("() => document.querySelector('#source .sheet img')?.naturalWidth > 0")


def colours_under_mark(page: Page) -> tuple[int, int]:
    """How many dark and how many yellow pixels the first rectangle shows on the screen."""
    box = page.locator("#source .boxes rect").first.bounding_box()
    points = Image.open(io.BytesIO(page.screenshot(clip=box))).convert("RGB").tobytes()
    seen = list(zip(points[::3], points[1::3], points[2::3], strict=True))
    return sum(max(p) < 110 for p in seen), sum(p[0] > 220 and p[1] > 190 and p[2] < 160 for p in seen)


def test_sign_up_upload_watch_ask_and_see_the_quoted_words_marked(site: Site, visit, data_folder: Path) -> None:
    page = visit(signed_in=False, expected="status of 415")  # the browser notes the refusal of the second file
    page.goto(site.url)
    page.get_by_role("link", name="Sign up").click()
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password (again)").fill(PASSWORD)
    page.get_by_role("button", name="Sign up").click()
    expect(page.get_by_role("heading", name="Put a document in, then ask it")).to_be_visible()
    page.context.storage_state(path=data_folder.parent / "state.json")

    page.get_by_role("link", name="Library", exact=True).click()
    expect(page.get_by_role("heading", name="Library")).to_be_visible()
    files = [file("arlen.pdf", REPORT), file("noise.bin", bytes(range(256)) * 40, "application/octet-stream")]
    page.locator("#upload input[name=file]").set_input_files(files)
    expect(page.locator("#uploads-title")).to_contain_text("1 refused")
    expect(page.locator(".upload-row.is-refused")).to_contain_text("This site reads PDF")
    row = page.locator(".row", has_text="arlen.pdf")
    expect(row.locator(".state")).to_have_class(re.compile("processed"), timeout=40_000)
    expect(page.locator("#poll")).not_to_have_attribute("hx-trigger", re.compile("."))
    expect(page.locator(".upload-row.is-refused")).to_be_visible()

    page.get_by_role("link", name="Chat", exact=True).click()
    ask(page, QUESTION)
    answer = page.locator(".answer.complete")
    expect(answer.locator(".said")).to_contain_text("742 metres")
    expect(answer.locator(".citation")).to_contain_text("page 2")
    answer.locator(".said a.cite").first.click()
    expect(page.locator("#source-title")).to_be_focused()
    wait_for_picture(page)
    assert marked_words(page, REPORT) == ANSWER
    dark, yellow = colours_under_mark(page)
    assert dark > 50
    assert yellow > 500


@pytest.mark.skipif(not SHARED_PDF.exists(), reason="../shared/data/sec10q is not there")
def test_a_real_report_is_cited_where_the_words_stand(site: Site, visit) -> None:
    page = visit()
    page.goto(f"{site.url}/library/")
    page.locator("#upload input[name=file]").set_input_files(SHARED_PDF)
    row = page.locator(".row", has_text=SHARED_PDF.name)
    expect(row.locator(".state")).to_have_class(re.compile("processed"), timeout=90_000)
    page.goto(site.url)
    ask(page, "How did Apple's total net sales change in the third quarter of 2022?")
    page.locator(".answer.complete .citation").first.click()
    wait_for_picture(page)
    quote = page.locator(".citation.open q").text_content()
    shown = marked_words(page, SHARED_PDF)
    wanted = set(re.findall(r"\w{4,}", quote))
    assert len(wanted & set(re.findall(r"\w{4,}", shown))) >= 0.9 * len(wanted), (quote, shown)


def test_a_citation_has_an_address_and_the_keyboard_is_enough(site: Site, visit) -> None:
    page = visit()
    page.goto(site.url)
    page.keyboard.press("Tab")
    ask(page, "How many lanes does the bridge of Arlen carry?")
    marker = page.locator(".answer.complete a.cite").first
    marker.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#source-title")).to_be_focused()
    expect(page).to_have_url(re.compile("#citation-"))
    assert page.evaluate("document.documentElement.scrollTop") == 0
    page.reload()
    expect(page.locator("#source-title")).to_have_text("arlen.pdf")
    page.keyboard.press("Escape")
    expect(page.locator("#source")).to_be_hidden()
    expect(page).to_have_url(re.compile("^[^#]+$"))
    page.goto(f"{site.url}/library/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()


def test_many_files_are_dropped_three_go_at_once_and_a_known_one_says_so(site: Site, visit) -> None:
    page = visit()
    page.add_init_script(COUNT_REQUESTS)
    page.goto(f"{site.url}/library/")
    page.evaluate(
        """() => {
          const data = new DataTransfer();
          for (let n = 0; n < 8; n += 1)
            data.items.add(new File([`Note ${n % 7}: the ferry sails at ${n % 7}.`], `note-${n}.txt`));
          for (const type of ["dragenter", "dragover", "drop"])
            document.body.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }));
        }"""
    )
    expect(page.locator("#uploads-title")).to_contain_text("8 of 8 files uploaded")
    expect(page.locator(".upload-row.is-known")).to_contain_text("Already in your library")
    expect(page.locator(".row", has_text="note-")).to_have_count(7)
    assert page.evaluate("window.most") == 3


def test_a_new_version_is_offered_and_takes_the_old_ones_place(site: Site, visit) -> None:
    page = visit()
    page.goto(f"{site.url}/library/")
    files = page.locator("#upload input[name=file]")
    files.set_input_files({"name": "tides.txt", "mimeType": "text/plain", "buffer": b"High water is at nine."})
    row = page.locator(".row", has_text="tides.txt")
    expect(row).to_contain_text("Ready")
    files.set_input_files({"name": "tides.txt", "mimeType": "text/plain", "buffer": b"High water is at ten."})
    offer = page.locator(".upload-row.is-offer")
    expect(offer).to_contain_text("“tides.txt” is there already, from ")
    expect(row).to_have_count(2)
    offer.get_by_role("button", name="Replace it").click()
    expect(row).to_have_count(1)
    row.get_by_role("link", name="tides.txt", exact=True).click()
    expect(page.locator(".text")).to_contain_text("at ten")


def test_documents_are_found_filtered_renamed_collected_and_deleted(site: Site, visit) -> None:
    page = visit()
    page.goto(f"{site.url}/library/")
    page.locator("#search").press_sequentially("arl")
    expect(page.locator(".row")).to_have_count(1)
    expect(page).to_have_url(re.compile("search=arl"))
    page.locator("#search").fill("")
    expect(page.locator(".row", has_text="note-1")).to_be_visible()

    page.get_by_role("link", name="New collection").click()
    page.get_by_role("dialog").get_by_label("Name").fill("Ferries")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(page.locator(".toast")).to_contain_text("is saved")
    page.goto(f"{site.url}/library/?search=note")
    page.locator("#tick-all").check()
    page.get_by_role("button", name="Add to collection").click()
    page.get_by_role("dialog").get_by_label("Ferries").check()
    page.get_by_role("dialog").get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("link", name=re.compile("Ferries 7"))).to_be_visible()

    row = page.locator(".row", has_text="note-1.txt")
    row.locator(".menu summary").click()
    row.get_by_role("link", name="Rename").click()
    page.get_by_role("dialog").get_by_label("Name").fill("harbour.txt")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(page.locator(".toast")).to_contain_text("is saved")
    page.goto(f"{site.url}/library/")
    row = page.locator(".row", has_text="harbour.txt")
    row.get_by_role("checkbox").check()
    page.locator("#bulk").get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator(".toast")).to_contain_text("1 document is deleted")
    expect(row).to_have_count(0)


def test_a_question_is_asked_to_chosen_documents_alone(site: Site, visit) -> None:
    page = visit()
    page.goto(site.url)
    page.locator(".scope-chip").click()
    page.locator("#scope-find").press_sequentially("note-3")
    page.get_by_role("dialog").get_by_label("note-3.txt").check()
    page.get_by_role("button", name="Use this").click()
    expect(page.locator(".composer .chip", has_text="note-3.txt")).to_be_visible()
    ask(page, "When does the ferry sail?")
    expect(page.locator(".answer.complete .citation strong")).to_have_text(["note-3.txt"])
    expect(page.locator(".composer .chip", has_text="note-3.txt")).to_be_visible()


def test_what_is_ticked_while_a_search_is_on_its_way_stays_ticked(site: Site, visit) -> None:
    page = visit()
    page.goto(site.url)
    page.locator(".scope-chip").click()
    held: list[Route] = []
    search = re.compile("scope.*find=note-5")
    page.route(search, lambda route: held.append(route), times=1)
    with page.expect_request(search):
        page.locator("#scope-find").fill("note-5")
    page.get_by_role("dialog").get_by_label("note-4.txt").check()
    with page.expect_response(re.compile("find=note-5&documents=")):
        held[0].continue_()
    expect(page.locator("#scope-documents .check")).to_have_text(["note-4.txt", "note-5.txt"])
    expect(page.get_by_role("dialog").get_by_label("note-4.txt")).to_be_checked()


def test_a_list_that_comes_late_takes_no_tick_away_and_does_not_undo_a_search(site: Site, visit) -> None:
    page = visit()
    page.goto(f"{site.url}/library/")
    held: list[Route] = []
    page.route(re.compile("/library/$"), lambda route: held.append(route), times=1)
    with page.expect_request(re.compile("/library/$")):
        page.locator("#upload input[name=file]").set_input_files([file("late.txt", b"Late words.", "text/plain")])
    page.get_by_label("Tick note-4.txt").check()
    page.locator("#search").fill("note-4")
    expect(page.locator(".row")).to_have_count(1)
    expect(page.get_by_label("Tick note-4.txt")).to_be_checked()
    with answered(page, "search=note-4"):
        held[0].continue_()
    expect(page.locator(".row")).to_have_count(1)
    expect(page.get_by_label("Tick note-4.txt")).to_be_checked()
    expect(page.locator("#bulk-count")).to_have_text("1 ticked")


def test_what_was_clicked_last_is_what_opens(site: Site, visit) -> None:
    page = visit()
    page.goto(f"{site.url}/library/?search=note")
    held: list[Route] = []
    page.route(re.compile("/edit/"), lambda route: held.append(route), times=1)
    forms = page.locator(".menu-items a", has_text="Rename")
    with page.expect_request(re.compile("/edit/")):
        forms.nth(0).dispatch_event("click")
    forms.nth(1).dispatch_event("click")
    named = page.get_by_role("dialog").get_by_label("Name")
    name = page.locator(".row-name > a").nth(1).text_content()
    expect(named).to_have_value(name)
    named.fill("half a na")
    with answered(page, "/edit/"):
        held[0].continue_()
    expect(named).to_have_value("half a na")


def test_the_source_that_was_clicked_last_is_shown(site: Site, visit) -> None:
    page = visit()
    page.goto(site.url)
    ask(page, QUESTION)
    marker = page.locator(".answer.complete a.cite").first
    page.route(re.compile("/passage/"), lambda route: None, times=1)
    marker.click()
    expect(page.locator("#source-content")).to_have_text("Opening the source…")
    marker.click()
    expect(page.locator("#source-title")).to_be_focused()
    wait_for_picture(page)


def test_conversations_are_found_renamed_pinned_and_deleted(site: Site, visit) -> None:
    page = visit()
    page.goto(site.url)
    with answered(page, "search=lanes%20does$"):
        page.locator("#side-search").press_sequentially("lanes does")
    expect(page.locator("#conversations .entry")).to_have_count(1)
    entry = page.locator("#conversations .entry").first
    entry.hover()
    entry.locator("summary").click()
    entry.get_by_role("button", name="Pin").click()
    expect(page.locator("#conversations .list-title").first).to_have_text("Pinned")
    entry = page.locator("#conversations .entry").first
    entry.hover()
    entry.locator("summary").click()
    entry.get_by_role("link", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator(".toast")).to_contain_text("is deleted")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_that_shuts_people_out(site: Site, visit, scheme: str) -> None:
    page = visit(color_scheme=scheme)
    page.goto(site.url)
    assert problems(page) == []
    page.locator("#conversations .entry-link").first.click()
    page.locator(".citation").first.click()
    expect(page.locator("#source-title")).to_be_focused()
    assert problems(page) == []
    page.goto(f"{site.url}/library/")
    assert problems(page) == []
    page.locator(".row-name a").first.click()
    assert problems(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_scrolls_sideways_on_a_phone(site: Site, visit, scheme: str) -> None:
    page = visit(viewport=PHONE, has_touch=True, is_mobile=True, color_scheme=scheme)
    for path in ("/", "/library/", "/library/?search=arlen", "/settings/tokens/", "/accounts/password/change/"):
        page.goto(site.url + path)
        assert overflow(page) <= 0, path
    page.goto(f"{site.url}/library/?search=arlen")
    page.locator(".row-name a").first.click()
    expect(page.locator(".viewer .page").first).to_be_visible()
    assert overflow(page) <= 0
    page.goto(site.url)
    page.locator(".side-open").tap()
    page.locator("#conversations .entry-link").first.tap()
    page.locator(".citation").first.tap()
    expect(page.locator("#source-title")).to_be_focused()
    assert overflow(page) <= 0
    expect(page.locator("#main")).to_have_attribute("inert", "")
    page.locator("[data-close-source]").tap()
    expect(page.locator("#source")).to_be_hidden()


def test_the_colours_that_were_chosen_are_there_from_the_first_moment(site: Site, visit) -> None:
    page = visit(color_scheme="light")
    page.goto(site.url)
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Light or dark").click()
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.reload(wait_until="commit")
    page.wait_for_function("() => document.body && document.styleSheets.length")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark != light


def test_without_javascript_one_uploads_and_asks_all_the_same(site: Site, visit) -> None:
    page = visit(java_script_enabled=False)
    page.goto(f"{site.url}/library/")
    page.locator("#upload input[name=file]").set_input_files([file("plain.txt", b"Plain words.", "text/plain")])
    page.get_by_role("button", name="Upload").click()
    expect(page.locator(".toast")).to_contain_text("plain.txt")
    page.goto(site.url)
    page.locator("#content").fill(QUESTION)
    page.get_by_role("button", name="Ask").click()
    expect(page.locator(".answer.complete .said")).to_contain_text("742 metres")
    page.locator(".citation").first.click()
    expect(page.locator(".viewer .boxes rect").first).to_be_attached()


def test_a_reload_goes_on_with_the_answer_and_stop_ends_it(site_with_model: Site, visit) -> None:
    page = visit()
    page.goto(site_with_model.url)
    ask(page, "What do the passages say?")
    streamed = page.locator(".answer.running .streaming")
    expect(streamed).to_contain_text("The passages say so")
    before = streamed.text_content()
    page.reload()
    expect(streamed).to_contain_text(before.strip())
    page.wait_for_function(
        "length => document.querySelector('.streaming').textContent.length > length", arg=len(before)
    )
    expect(page.get_by_role("button", name="Ask", exact=True)).to_be_disabled()
    page.get_by_role("button", name="Stop").click()
    stopped = page.locator(".answer.stopped")
    expect(stopped).to_contain_text("You stopped this answer")
    expect(stopped.locator(".said")).to_contain_text("The passages say so")
    expect(page.get_by_role("button", name="Ask", exact=True)).to_be_enabled()


def test_an_answer_is_finished_while_nobody_looks(site_with_model: Site, visit) -> None:
    page = visit()
    page.goto(site_with_model.url)
    ask(page, "Say it once more.")
    expect(page.locator(".streaming")).to_contain_text("passages")
    talk = page.url
    page.goto(f"{site_with_model.url}/library/")
    site_with_model.model.hurry()
    assert until(lambda: site_with_model.model.stats.open == 0)
    page.goto(talk)
    expect(page.locator(".answer.complete .cite").first).to_be_visible()
    page.get_by_role("button", name="Copy the answer").wait_for()


def test_a_model_that_breaks_off_leaves_what_it_wrote_and_a_way_to_ask_again(site_with_model: Site, visit) -> None:
    page = visit()
    page.goto(site_with_model.url)
    ask(page, "mock:cut What do the passages say?")
    expect(page.locator(".streaming")).to_contain_text("The passages say so")
    site_with_model.model.hurry()
    failed = page.locator(".answer.failed")
    expect(failed.locator(".said")).to_contain_text("The passages say so")
    failed.get_by_role("button", name="Ask again").click()
    expect(page.locator(".question")).to_have_count(2)
    expect(page.locator(".answer.running")).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".answer.stopped")).to_be_visible()
