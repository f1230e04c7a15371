// The list of documents: new ones appear as they are uploaded, ticked ones can be acted on together.
import { takeUploads } from "./upload.js";

const documents = document.getElementById("documents");
let pending = null;
let ticked = new Set();

/** Show the list anew, once for all uploads of a moment. */
function refresh() {
  clearTimeout(pending);
  pending = setTimeout(() => htmx.ajax("GET", shownList(), { target: "#documents" }), 250);
}

function shownList() {
  return location.pathname + location.search;
}

function boxes() {
  return [...documents.querySelectorAll(".row-tick input")];
}

function showTicks() {
  const all = boxes();
  const count = all.filter((box) => box.checked).length;
  const tickAll = document.getElementById("tick-all");
  if (!tickAll) return;
  tickAll.checked = count > 0 && count === all.length;
  tickAll.indeterminate = count > 0 && count < all.length;
  document.getElementById("bulk").classList.toggle("ticked", count > 0);
  const note = document.getElementById("bulk-count");
  if (count || note.dataset.counted) note.textContent = count ? `${count} ticked` : "";
  note.dataset.counted = count ? "yes" : "";
}

documents.addEventListener("change", (event) => {
  if (event.target.id === "tick-all") for (const box of boxes()) box.checked = event.target.checked;
  showTicks();
});
// What is ticked at the moment in which a list comes stays ticked. One that was asked for before the search was changed
// is dropped, and made again.
documents.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.target !== documents) return;
  ticked = new Set(boxes().filter((box) => box.checked).map((box) => box.value));
  const { elt, path } = event.detail.requestConfig;
  if (elt !== document.body || path === shownList()) return;
  event.detail.shouldSwap = false;
  refresh();
});
documents.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target !== documents) return;
  for (const box of boxes()) box.checked ||= ticked.has(box.value);
  showTicks();
});
addEventListener("pageshow", showTicks);
document.addEventListener("replaced", refresh); // a new version took the place of one that is shown
takeUploads(refresh);
