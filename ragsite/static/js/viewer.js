// The source viewer: go to the marked passage, also when pages above it get their height only now.
import { showPassage, watchPictures } from "./passage.js";

const main = document.querySelector(".viewer-main");
watchPictures(main);
if (location.search) showPassage(main);

// A document that was being read when the page opened is shown as soon as it is ready.
document.addEventListener("htmx:afterSwap", (event) => {
  const ready = document.querySelector(".facts .state.processed, .facts .state.failed");
  if (event.detail.target.id === "poll" && ready && main.querySelector(".nothing")) location.reload();
});
