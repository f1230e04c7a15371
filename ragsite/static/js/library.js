// The list of documents: new ones appear as they are uploaded, ticked ones can be acted on together.
import { takeUploads } from "./upload.js";

const documents = document.getElementById("documents");
let pending = null;

/** Show the list anew, once for all uploads of a moment; ticks survive. */
function refresh() {
  clearTimeout(pending);
  pending = setTimeout(async () => {
    const ticked = new Set(boxes().filter((box) => box.checked).map((box) => box.value));
    await htmx.ajax("GET", location.pathname + location.search, { target: "#documents" });
    for (const box of boxes()) box.checked = ticked.has(box.value);
    showTicks();
  }, 250);
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
document.addEventListener("htmx:afterSwap", (event) => event.detail.target === documents && showTicks());
addEventListener("pageshow", showTicks);
document.addEventListener("replaced", refresh); // a new version took the place of one that is shown
takeUploads(refresh);
