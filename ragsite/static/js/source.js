// The pane that shows a citation where it stands; a sheet over the page on small screens.
import { showPassage, watchPictures } from "./passage.js";

const pane = document.getElementById("source");
const content = document.getElementById("source-content");
const behind = [document.getElementById("main"), document.getElementById("side"), document.querySelector(".header")];
const small = matchMedia("(max-width: 800px)");
let opener = null;

export function openSource(link, from) {
  opener = from ?? link;
  mark(link);
  const waiting = document.createElement("p");
  waiting.className = "source-loading";
  waiting.textContent = "Opening the source…";
  content.replaceChildren(waiting);
  pane.hidden = false;
  cover(small.matches);
  history.replaceState(history.state, "", `#${link.closest("li").id}`);
  // Its own source: what is opened after it takes its place at once (hx-sync), and is not queued behind it.
  htmx.ajax("GET", link.dataset.source, { source: content, target: content, swap: "innerHTML" }).then(shown, () => {});
}

function shown() {
  const title = document.getElementById("source-title");
  if (!title) {
    content.firstElementChild.textContent = "This source cannot be opened. The document may have been deleted.";
    return;
  }
  watchPictures(content);
  showPassage(content);
  title.focus({ preventScroll: true });
}

export function closeSource() {
  if (pane.hidden) return;
  pane.hidden = true;
  content.replaceChildren();
  cover(false);
  mark(null);
  history.replaceState(history.state, "", location.pathname + location.search);
  opener?.focus();
}

/** Small print is read at twice its size, with the passage kept in sight. */
function zoom(button) {
  const large = document.getElementById("source-body").classList.toggle("large");
  button.setAttribute("aria-pressed", String(large));
  showPassage(content);
}

/** What lies behind a sheet cannot be reached by keyboard or screen reader. */
function cover(covered) {
  for (const part of behind) part.inert = covered;
}

function mark(link) {
  document.querySelectorAll(".citation.open, .cite.open").forEach((entry) => entry.classList.remove("open"));
  if (!link) return;
  link.classList.add("open");
  const name = link.closest("li").id;
  document.querySelectorAll(`[data-cite="${CSS.escape(name)}"]`).forEach((entry) => entry.classList.add("open"));
}

function citation(name) {
  return document.getElementById(name)?.querySelector("[data-source]") ?? null;
}

/** Open what the address points at: #citation-… */
export function openFromAddress() {
  const name = decodeURIComponent(location.hash.slice(1));
  const link = name.startsWith("citation-") && citation(name);
  if (!link) return;
  link.scrollIntoView({ block: "center" });
  openSource(link);
}

document.addEventListener("click", (event) => {
  if (event.metaKey || event.ctrlKey || event.shiftKey) return;
  if (event.target.closest("[data-close-source]")) return closeSource();
  if (event.target.closest("[data-zoom]")) return zoom(event.target.closest("[data-zoom]"));
  const marker = event.target.closest("[data-cite]");
  const link = marker ? citation(marker.dataset.cite) : event.target.closest("[data-source]");
  if (link) {
    event.preventDefault();
    openSource(link, marker);
  } else if (small.matches && event.target.id === "chat") {
    closeSource();
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !document.querySelector("dialog[open]")) closeSource();
});
small.addEventListener("change", () => cover(small.matches && !pane.hidden));
addEventListener("hashchange", openFromAddress);
