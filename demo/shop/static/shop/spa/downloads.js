/** A refusal of the server, with its text for the person. */
export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** Send a request for JSON, and return the response. */
export async function send(url, { method = "GET", headers = {} } = {}) {
  const accepted = { Accept: "application/json", ...headers };
  const response = await fetch(url, { method, headers: accepted });
  if (response.ok || response.status === 304) {
    return response;
  }
  // A page, if it is from another program than this package.
  const problem = await response.json().catch(() => ({}));
  throw new Problem(response.status, problem.detail || response.statusText);
}

/** Look at a list as often as the server says, and hand over each that is new. */
export class Watcher {
  #etag = "";
  #seconds = null;
  #timer = 0;
  #turn = 0;

  constructor(url, { show, fail }) {
    this.url = url;
    this.show = show;
    this.fail = fail;
    // A hidden page does not poll.
    document.addEventListener("visibilitychange", () => document.hidden || this.look());
  }

  /** Look now; an answer that is still on its way no longer counts. */
  async look() {
    clearTimeout(this.#timer);
    const turn = ++this.#turn;
    let seconds;
    try {
      const response = await send(this.url, { headers: { "If-None-Match": this.#etag } });
      const list = response.status === 304 ? null : await response.json();
      if (turn !== this.#turn) {
        return;
      }
      if (list) {
        this.#etag = response.headers.get("ETag");
        this.#seconds = list.poll_seconds;
      }
      this.show(list);
      seconds = this.#seconds;
    } catch (error) {
      if (turn !== this.#turn) {
        return;
      }
      this.fail(error);
      seconds = error.status === 401 ? null : 5;
    }
    if (seconds !== null) {
      this.#timer = setTimeout(() => document.hidden || this.look(), seconds * 1000);
    }
  }
}
