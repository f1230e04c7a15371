// Bringing a marked passage into sight, in the viewer and in the pane beside the chat.

/** Scroll to the passage, and once more when its picture has its real height. */
export function showPassage(within) {
  const spot = within.querySelector(".boxes rect, mark") ?? within.querySelector(".page.wanted");
  if (!spot) return;
  const go = () => spot.scrollIntoView({ block: "center", inline: "start", behavior: "instant" });
  const picture = spot.closest(".page")?.querySelector("img");
  go();
  if (picture && !picture.complete) picture.addEventListener("load", go, { once: true });
}

/** A picture that cannot be had says so, instead of an empty page. */
export function watchPictures(within) {
  for (const picture of within.querySelectorAll(".sheet img")) {
    if (picture.complete && picture.naturalWidth === 0 && picture.src && !picture.loading) missing(picture);
    picture.addEventListener("error", () => missing(picture), { once: true });
  }
}

function missing(picture) {
  const sheet = picture.closest(".sheet");
  sheet.classList.add("missing");
  sheet.textContent = "This page cannot be drawn at the moment. Reload to try again, or download the file.";
}
