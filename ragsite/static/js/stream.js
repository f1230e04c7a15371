// An answer as it is written. The browser's EventSource resumes a lost connection by itself (Last-Event-ID).
const STAGES = { searching: "Searching your documents", reading: "Reading what was found", writing: "Writing" };
const AGAIN = 2000;
const status = document.getElementById("chat-status");
const thread = document.getElementById("thread");

/** Follow a running answer until it is done; `finished` is called when it stands there for good. */
export function follow(answer, finished) {
  const said = answer.querySelector(".streaming");
  const stage = answer.querySelector(".stage");
  const events = new EventSource(answer.dataset.events);
  answer.dataset.followed = "yes";

  const tell = (text) => {
    stage.querySelector(".stage-name").textContent = text;
    status.textContent = text;
  };
  const end = async () => {
    events.close();
    removeEventListener("pagehide", leave);
    await finish(answer, finished);
  };
  const leave = () => events.close();

  events.addEventListener("status", (event) => tell(STAGES[JSON.parse(event.data).stage] ?? "Working"));
  events.addEventListener("passages", () => tell(STAGES.reading));
  events.addEventListener("token", (event) => {
    keepInSight(() => said.append(JSON.parse(event.data).text));
    stage.hidden = true;
  });
  events.addEventListener("done", end);
  // The server's own event "error" has data; a lost connection has none.
  events.addEventListener("error", (event) => {
    if (event.data) return end();
    if (events.readyState === EventSource.CLOSED) return setTimeout(end, AGAIN);  // refused: too many are open
    stage.hidden = false;
    tell("The connection was lost; going on in a moment");
  });
  addEventListener("pagehide", leave);
}

/** Put the finished answer, as the server shows it, in the place of the stream. */
async function finish(answer, finished) {
  const response = await fetch(answer.dataset.finished, { headers: { "HX-Request": "true" } }).catch(() => null);
  if (!response?.ok) {
    setTimeout(() => finish(answer, finished), AGAIN);
    return;
  }
  const parts = document.createElement("template");
  parts.innerHTML = await response.text();
  const done = parts.content.firstElementChild;
  if (!done) {  // signed out meanwhile
    location.reload();
    return;
  }
  keepInSight(() => answer.replaceWith(done));
  htmx.process(done);
  status.textContent = "The answer is there.";
  finished(done);
}

/** Stay at the end of the talk, unless the reader has scrolled up. */
export function keepInSight(change) {
  const atEnd = thread.scrollHeight - thread.scrollTop - thread.clientHeight < 120;
  change();
  if (atEnd) thread.scrollTop = thread.scrollHeight;
}
