// The chat: asking, following answers, the list of conversations, copying.
import { openFromAddress } from "./source.js";
import { follow } from "./stream.js";
import { takeUploads } from "./upload.js";

const composer = document.getElementById("composer");
const question = document.getElementById("content");
const send = composer.querySelector(".send");
const thread = document.getElementById("thread");
const side = document.getElementById("side");
const draft = `draft-${composer.dataset.draft}`;

function followAll() {
  for (const answer of document.querySelectorAll(".answer.running:not([data-followed])")) follow(answer, finished);
  const running = document.querySelector(".answer.running") !== null;
  send.disabled = running;
  composer.dataset.running = running ? "yes" : "";
}

function finished(done) {
  followAll();
  if (done.classList.contains("running")) return;
  if (document.activeElement === document.body) question.focus({ preventScroll: true });
}

// Asking: Enter sends, Shift+Enter makes a line; what is typed survives a reload.
question.value ||= sessionStorage.getItem(draft) ?? "";
question.addEventListener("input", () => {
  sessionStorage.setItem(draft, question.value);
  grow();
});
question.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  if (question.value.trim() && !composer.dataset.running) composer.requestSubmit(send);
});
// A first question leaves this page: its draft goes when the question stands in its conversation.
if (document.querySelector(".question")?.textContent.trim() === sessionStorage.getItem("draft-new")?.trim()) {
  sessionStorage.removeItem("draft-new");
}
composer.addEventListener("htmx:beforeRequest", (event) => {
  if (composer.dataset.running) event.preventDefault();
  else send.disabled = true;
});
composer.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.elt !== composer) return;
  if (event.detail.xhr.status === 200) {
    question.value = "";
    sessionStorage.removeItem(draft);
    grow();
  }
  followAll();
});

/** For browsers without `field-sizing`. */
function grow() {
  if (CSS.supports("field-sizing", "content")) return;
  question.style.height = "auto";
  question.style.height = `${question.scrollHeight}px`;
}

document.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target.id !== "messages") return;
  followAll();
  thread.scrollTop = thread.scrollHeight;
});

// The list of conversations is a drawer on small screens.
function toggleSide(open) {
  side.classList.toggle("open", open);
  document.querySelector(".side-open")?.setAttribute("aria-expanded", String(open));
  document.getElementById("main").inert = open && matchMedia("(max-width: 800px)").matches;
  if (open) side.querySelector("a, button").focus();
  else document.querySelector(".side-open")?.focus();
}

document.addEventListener("click", async (event) => {
  if (event.target.closest("[data-side-toggle]")) toggleSide(!side.classList.contains("open"));
  else if (event.target.id === "chat" && side.classList.contains("open")) toggleSide(false);
  const untick = event.target.closest("[data-untick]");
  if (untick) {
    event.preventDefault();
    for (const box of untick.form.querySelectorAll("input[type=checkbox]")) box.checked = false;
    untick.form.requestSubmit();
  }
  const copy = event.target.closest("[data-copy]");
  if (copy) await copyAnswer(copy);
  const address = event.target.closest(".answer .address");
  if (address) await copyAddress(address);
});

/** Addresses in answers are no links: a document may have asked the model to write them. They can be copied. */
async function copyAddress(address) {
  await navigator.clipboard.writeText(address.textContent);
  document.getElementById("chat-status").textContent = "The address is copied.";
}

async function copyAnswer(button) {
  await navigator.clipboard.writeText(button.closest(".answer").querySelector(".raw").value);
  button.classList.add("copied");
  document.getElementById("chat-status").textContent = "Copied.";
  setTimeout(() => button.classList.remove("copied"), 1500);
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && side.classList.contains("open")) toggleSide(false);
});

// The first document can be uploaded right here.
takeUploads(() => {
  document.getElementById("first-ready").hidden = false;
  question.focus();
});

// Taken out of the browser's memory, a page has lost its streams.
addEventListener("pageshow", (event) => event.persisted && location.reload());

if (thread) thread.scrollTop = thread.scrollHeight;
grow();
followAll();
openFromAddress();
