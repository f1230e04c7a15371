// Large files in parts (tus 1.0.0): after a failure, a pause or a reload it goes on where the server says it is.
const PART = 8 * 1024 * 1024;
const PAUSES = [1, 2, 4, 8, 15, 30];
const TUS = { "Tus-Resumable": "1.0.0" };
const KEY = "ragsite-upload:";

/** A file on its way; `done` settles with the last answer, `told(fraction, note)` is called as it goes. */
export class ResumableUpload {
  constructor(file, { endpoint, token, metadata, told }) {
    Object.assign(this, { file, endpoint, token, metadata, told });
    this.key = KEY + [metadata.filename, file.size, file.lastModified, metadata.collection ?? "", metadata.unpack ?? ""].join("|");
    this.paused = false;
    this.failures = 0;
    this.done = this.run();
  }

  pause() {
    this.paused = true;
    this.request?.abort();
  }

  resume() {
    this.paused = false;
    this.failures = 0;
    this.wake?.();
  }

  async run() {
    for (;;) {
      if (this.paused) await this.woken();
      const answer = await this.step();
      if (answer.status === 204 && answer.finished) return this.end(answer);
      if (answer.status >= 200 && answer.status < 300) this.failures = 0;
      else if (answer.status === 404 || answer.status === 410) this.url = localStorage.removeItem(this.key);
      else if (answer.status && answer.status !== 409 && answer.status !== 429 && answer.status !== 507 && answer.status < 500) return this.end(answer);
      else if (!this.paused && !(await this.waited(answer))) return answer;
    }
  }

  /** One request: find or begin the upload, ask where it is, or send the next part. */
  step() {
    this.url ??= localStorage.getItem(this.key);
    if (!this.url) return this.begin();
    if (this.offset === undefined) return this.ask();
    return this.send();
  }

  async begin() {
    const metadata = Object.entries(this.metadata).map(([name, value]) => `${name} ${base64(value)}`);
    const answer = await this.call("POST", this.endpoint, { "Upload-Length": this.file.size, "Upload-Metadata": metadata.join(",") });
    if (answer.status !== 201) return answer;
    this.url = new URL(answer.header("Location"), location.href).pathname;
    this.offset = 0;
    localStorage.setItem(this.key, this.url);
    return answer;
  }

  async ask() {
    const answer = await this.call("HEAD", this.url, {});
    if (answer.status === 200) this.offset = Number(answer.header("Upload-Offset"));
    return answer;
  }

  async send() {
    const part = this.file.slice(this.offset, this.offset + PART);
    const headers = { "Upload-Offset": this.offset, "Content-Type": "application/offset+octet-stream" };
    const answer = await this.call("PATCH", this.url, headers, part);
    this.offset = answer.status === 204 ? Number(answer.header("Upload-Offset")) : undefined;
    answer.finished = Boolean(answer.header("Upload-Document") ?? answer.header("Upload-Import"));
    return answer;
  }

  call(method, url, headers, body = null) {
    return new Promise((resolve) => {
      const request = (this.request = new XMLHttpRequest());
      request.open(method, url);
      for (const [name, value] of Object.entries({ ...TUS, "X-CSRFToken": this.token, ...headers })) request.setRequestHeader(name, value);
      const start = this.offset;
      request.upload.addEventListener("progress", (event) => body && this.told((start + event.loaded) / this.file.size, ""));
      request.addEventListener("loadend", () =>
        resolve({ status: request.status, responseText: request.responseText, header: (name) => request.getResponseHeader(name) }),
      );
      request.send(body);
    });
  }

  end(answer) {
    localStorage.removeItem(this.key);
    return answer;
  }

  /** Wait before another try; false when there were enough of them. */
  async waited(answer) {
    if (answer.status && this.failures >= PAUSES.length) return false; // without a network it waits as long as it takes
    const seconds = PAUSES[Math.min(this.failures, PAUSES.length - 1)];
    this.failures += 1;
    this.told(null, answer.status ? `Waiting for the server: again in ${seconds} s` : `No connection: again in ${seconds} s`);
    await Promise.race([new Promise((resolve) => setTimeout(resolve, seconds * 1000)), online(), this.woken()]);
    return true;
  }

  woken() {
    return new Promise((resolve) => (this.wake = resolve));
  }
}

function online() {
  return new Promise((resolve) => addEventListener("online", resolve, { once: true }));
}

function base64(text) {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}
