// What every page has: the colours' switch, menus, the dialog, notes that go away.
const root = document.documentElement;
const dialog = document.getElementById("dialog");

function isDark() {
  return root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function toggleTheme() {
  root.dataset.theme = isDark() ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
}

function closeMenus(except) {
  for (const menu of document.querySelectorAll("details.menu[open]")) if (menu !== except) menu.open = false;
}

document.addEventListener("click", (event) => {
  const target = event.target.closest("[data-theme-toggle], [data-dismiss], [data-close-dialog]");
  closeMenus(event.target.closest("details.menu"));
  if (event.target.closest(".menu-items a, .menu-items button")) closeMenus();
  if (event.target === dialog) dialog.close();
  if (!target) return;
  if ("themeToggle" in target.dataset) toggleTheme();
  if ("dismiss" in target.dataset) target.closest(".toast").remove();
  if ("closeDialog" in target.dataset) {
    event.preventDefault();
    dialog.close();
  }
});

document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && document.querySelector("details.menu[open]");
  if (!menu) return;
  event.stopImmediatePropagation();
  menu.open = false;
  menu.querySelector("summary").focus();
});

// A menu near the lower edge opens upwards.
document.addEventListener("toggle", (event) => {
  if (!event.target.matches?.("details.menu[open]")) return;
  const items = event.target.querySelector(".menu-items");
  items.classList.remove("up");
  items.classList.toggle("up", items.getBoundingClientRect().bottom > innerHeight - 8);
}, true);

// Links to forms open in the dialog: htmx puts the form into it, and it shows itself.
document.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target.id !== "dialog-content" || dialog.open) return;
  dialog.showModal();
  (dialog.querySelector("[autofocus]") ?? dialog.querySelector("input:not([type=hidden]), button"))?.focus();
});

// What was clicked last opens: an earlier form that comes later would replace it while it is filled in.
let wanted = null;
document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.detail.target.id === "dialog-content") wanted = event.detail.xhr;
});
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.target.id === "dialog-content" && event.detail.xhr !== wanted) event.detail.shouldSwap = false;
});

// A search among things to tick keeps the ticked ones. What is ticked while its answer is on the way was not asked for
// with it: that answer is dropped, and the search made again.
function ticked(list) {
  return Array.from(list.querySelectorAll("input:checked"), (box) => box.value).join();
}
document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.detail.elt.id === "scope-find") event.detail.requestConfig.ticked = ticked(event.detail.target);
});
document.addEventListener("htmx:beforeSwap", (event) => {
  const asked = event.detail.requestConfig.ticked;
  if (asked === undefined || asked === ticked(event.detail.target)) return;
  event.detail.shouldSwap = false;
  htmx.trigger(event.detail.requestConfig.elt, "ticked");
});

// A session that ended, or a server that is away: say so instead of doing nothing. What asks again by itself is quiet.
document.addEventListener("htmx:responseError", (event) => {
  if (event.detail.target?.id === "poll") return;
  if (event.detail.xhr.status === 403) location.reload();
  else toast(`That did not work (error ${event.detail.xhr.status}). Try again in a moment.`, "error");
});
document.addEventListener("htmx:sendError", (event) => {
  if (event.detail.target?.id !== "poll") toast("The site cannot be reached. Try again in a moment.", "error");
});

function toast(text, kind = "") {
  const note = document.createElement("div");
  note.className = `toast ${kind}`;
  const words = document.createElement("span");
  words.textContent = text;
  note.append(words);
  note.setAttribute("role", "alert");
  document.getElementById("toasts").append(note);
  vanish(note);
}

function vanish(note) {
  setTimeout(() => note.remove(), note.classList.contains("error") ? 12000 : 6000);
}

document.querySelectorAll(".toast").forEach(vanish);
