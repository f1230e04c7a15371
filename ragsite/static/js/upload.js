// Uploads: each file by itself, three at once, with its progress and what came of it; large ones in parts.
import { ResumableUpload } from "./resumable.js";

const AT_ONCE = 3;
const IN_PARTS_FROM = 8 * 1024 * 1024;
const form = document.getElementById("upload");
const panel = document.getElementById("uploads");
const list = document.getElementById("upload-list");
const title = document.getElementById("uploads-title");
const clear = document.getElementById("uploads-clear");
const veil = document.getElementById("drop-veil");
const blank = document.getElementById("upload-row");
const waiting = [];
let running = 0;
let tally = fresh();
let onStored = () => {};

function fresh() {
  return { files: 0, done: 0, refused: 0 };
}

/** Take files that are chosen or dropped; `stored` is called after each that the library has taken. */
export function takeUploads(stored) {
  if (!form) return;
  onStored = stored;
  form.querySelectorAll("input[type=file]").forEach(watchInput);
  form.addEventListener("submit", (event) => event.preventDefault());
  clear.addEventListener("click", clearList);
  list.addEventListener("click", (event) => {
    event.target.closest(".upload-remove")?.closest("li").remove();
    panel.hidden = !list.children.length;
  });
  watchDrops();
  addEventListener("beforeunload", (event) => {
    if (running || waiting.length) event.preventDefault();
  });
}

function watchInput(input) {
  const take = () => {
    add([...input.files].filter(isShown));
    input.value = "";
  };
  input.addEventListener("change", take);
  if (input.files.length) take(); // chosen before this module was there
}

/** Not what hides in a folder: `.git`, `.DS_Store`. */
function isShown(file) {
  return !file.webkitRelativePath || !file.webkitRelativePath.split("/").some((part) => part.startsWith("."));
}

function watchDrops() {
  let depth = 0;
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => {
    if (!hasFiles(event)) return;
    depth += 1;
    veil.hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (!hasFiles(event)) return;
    depth -= 1;
    if (depth <= 0) veil.hidden = true;
  });
  addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    veil.hidden = true;
    filesOf(event.dataTransfer).then(add);
  });
}

/** What was dropped, with the files of folders. */
async function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.());
  const plain = [...transfer.files]; // read now: after a pause the browser has forgotten it
  if (!entries.some((entry) => entry?.isDirectory)) return plain;
  return (await Promise.all(entries.filter(Boolean).map(filesBelow))).flat();
}

async function filesBelow(entry) {
  if (entry.name.startsWith(".")) return [];
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // a hundred at a time
    if (!some.length) return found;
    found.push(...(await Promise.all(some.map(filesBelow))).flat());
  }
}

function add(files) {
  if (!files.length) return;
  if (!running && !waiting.length) tally = fresh();
  form.classList.remove("first");
  for (const file of files) {
    const row = blank.content.firstElementChild.cloneNode(true);
    row.querySelector(".upload-name").textContent = file.name;
    show(row, "waiting", "Waiting");
    list.append(row);
    waiting.push({ file, row });
    tally.files += 1;
  }
  panel.hidden = false;
  next();
}

function next() {
  while (running < AT_ONCE && waiting.length) {
    running += 1;
    send(waiting.shift());
  }
  tell();
}

function send({ file, row }) {
  const unpack = file.name.toLowerCase().endsWith(".zip");
  if (file.size >= IN_PARTS_FROM) sendInParts(file, row, unpack);
  else sendAtOnce(file, row, unpack);
}

function sendAtOnce(file, row, unpack) {
  const body = new FormData();
  const collection = form.elements.collection;
  if (collection) body.append("collection", collection.value);
  body.append("file", file);
  const request = new XMLHttpRequest();
  const bar = row.querySelector("progress");
  show(row, "working", "Uploading");
  request.open("POST", unpack ? form.dataset.import : form.dataset.api);
  request.setRequestHeader("X-CSRFToken", form.elements.csrfmiddlewaretoken.value);
  request.upload.addEventListener("progress", (event) => {
    if (event.lengthComputable) bar.value = event.loaded / event.total;
    if (event.loaded === event.total) show(row, "working", "Storing");
  });
  request.addEventListener("loadend", () => ended(request, row));
  request.send(body);
}

async function sendInParts(file, row, unpack) {
  const bar = row.querySelector("progress");
  const button = row.querySelector(".upload-pause");
  const metadata = { filename: file.name };
  if (form.elements.collection) metadata.collection = form.elements.collection.value;
  if (unpack) metadata.unpack = "true";
  show(row, "working", "Uploading");
  const upload = new ResumableUpload(file, {
    endpoint: form.dataset.uploads,
    token: form.elements.csrfmiddlewaretoken.value,
    metadata,
    told(fraction, note) {
      if (fraction !== null) bar.value = fraction;
      show(row, "working", upload.paused ? "Paused" : note || (fraction < 1 ? "Uploading" : "Storing"));
    },
  });
  button.hidden = false;
  button.addEventListener("click", () => {
    if (upload.paused) upload.resume();
    else upload.pause();
    button.textContent = upload.paused ? "Go on" : "Pause";
    show(row, "working", upload.paused ? "Paused" : "Uploading");
  });
  const answer = await upload.done;
  button.hidden = true;
  ended(answer, row);
}

function ended(answer, row) {
  running -= 1;
  finish(answer, row);
  next();
}

function finish(request, row) {
  if (request.status === 202 || request.header?.("Upload-Import")) {
    tally.done += 1;
    show(row, "known", "Uploaded. Its files appear one after the other; see Imports.");
    onStored();
    return;
  }
  if (request.status === 201 || request.status === 200 || request.status === 204) {
    tally.done += 1;
    if (request.status === 200) show(row, "known", "Already in your library");
    else show(row, "done", "Uploaded");
    if (request.status !== 200) offerIfNamesake(row, request);
    onStored();
    return;
  }
  tally.refused += 1;
  show(row, "refused", reason(request));
}

async function offerIfNamesake(row, request) {
  if (request.status === 201) return offer(row, JSON.parse(request.responseText));
  const name = request.header?.("Upload-Document"); // sent in parts: its answer has no body
  const response = name && (await fetch(`${form.dataset.api}/${name}/replace`).catch(() => null));
  if (response?.ok) offer(row, await response.json());
}

/** Another document has this name: shall the new one take its place? Until somebody says so both stay. */
function offer(row, { id, replaces_candidate: earlier }) {
  if (!earlier) return;
  const day = new Date(earlier.uploaded_at).toLocaleDateString(undefined, { day: "numeric", month: "long", year: "numeric" });
  show(row, "offer", `“${earlier.filename}” is there already, from ${day}.`);
  const choice = row.querySelector(".upload-choice");
  choice.hidden = false;
  choice.querySelector(".upload-keep").addEventListener("click", () => settle(row, "Uploaded; both are kept."));
  choice.querySelector(".upload-replace").addEventListener("click", async () => {
    const response = await fetch(`${form.dataset.api}/${id}/replace`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRFToken": form.elements.csrfmiddlewaretoken.value },
      body: JSON.stringify({ replaces: earlier.id }),
    }).catch(() => null);
    if (!response?.ok) return show(row, "offer", "That did not work. Try again in a moment.");
    settle(row, "Uploaded; it takes the earlier one's place when it is ready.");
    onStored();
  });
}

function settle(row, note) {
  row.querySelector(".upload-choice").hidden = true;
  show(row, "known", note);
}

function reason(request) {
  if (!request.status) return "The connection was lost. Choose the file again.";
  if (request.status === 413) return problem(request) ?? "The file is too large.";
  if (request.status === 401 || request.status === 403) return "You are signed out. Reload the page and sign in.";
  return problem(request) ?? `The server could not take it (error ${request.status}). Try again in a moment.`;
}

function problem(request) {
  try {
    const { detail, errors } = JSON.parse(request.responseText);
    return errors?.file?.[0] ?? detail ?? null;
  } catch {
    return null;
  }
}

function show(row, state, note) {
  row.className = `upload-row is-${state}`;
  row.querySelector(".upload-note").textContent = note;
}

function tell() {
  const { files, done, refused } = tally;
  const busy = running + waiting.length;
  const failed = refused ? `, ${refused} refused` : "";
  title.textContent = busy
    ? `Uploading ${Math.min(done + refused + 1, files)} of ${files}`
    : `${done} of ${files} file${files === 1 ? "" : "s"} uploaded${failed}`;
  clear.hidden = busy > 0;
  if (!busy) setTimeout(tidy, 4000);
}

/** What went well need not stay; what was refused stays until it is dismissed. */
function tidy() {
  if (running || waiting.length) return;
  list.querySelectorAll(".is-done").forEach((row) => row.remove());
  panel.hidden = !list.children.length;
}

function clearList() {
  list.replaceChildren();
  panel.hidden = true;
  form.querySelector("input[type=file]").focus();
}
