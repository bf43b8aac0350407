// Goes with the download centre: loads htmx where the site does not, and tells what
// changed: the count on the button, a toast, the document's title. The rest is htmx.
(() => {
  if (window.asyncDownloadsCentre) return;
  window.asyncDownloadsCentre = true;

  const SEEN = "async-downloads-seen";
  const TOAST_MILLISECONDS = 10_000;
  const LOOK_AGAIN_MILLISECONDS = 5_000;

  const script = document.currentScript;
  const sources = [script.dataset.htmx];
  if (script.dataset.htmxWs) sources.push(script.dataset.htmxWs);

  const byId = (id) => document.getElementById(id);
  const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);

  const load = (src) =>
    new Promise((resolve, reject) => {
      const element = document.createElement("script");
      Object.assign(element, { src, nonce: script.nonce, onload: resolve, onerror: reject });
      document.head.append(element);
    });

  const configure = () => {
    if (document.querySelector('meta[name="htmx-config"]')) return;
    const meta = document.createElement("meta");
    meta.name = "htmx-config";
    // Both would need exceptions in a strict content security policy.
    meta.content = JSON.stringify({ allowEval: false, includeIndicatorStyles: false });
    document.head.append(meta);
  };

  // What the list shows

  const items = () => {
    const found = document.querySelectorAll("#downloads-dropdown .download-container[data-state]");
    return new Map([...found].map((item) => [item.id, item]));
  };
  const isFinished = (item) => ["complete", "failed"].includes(item.dataset.state);
  const isOpen = () => byId("downloads-dropdown")?.matches(":popover-open") ?? false;

  // Which finished downloads the person has seen in the open menu, on any page of the site

  const readSeen = () => {
    try {
      return new Set(JSON.parse(localStorage.getItem(SEEN)));
    } catch {
      return new Set();
    }
  };

  const remember = (ids) => {
    try {
      localStorage.setItem(SEEN, JSON.stringify(ids));
    } catch {
      // A browser that keeps nothing shows them as new again.
    }
  };

  const updateCount = () => {
    const centre = byId("async-downloads");
    const button = byId("navbarDropdownAsyncDownloads");
    const count = byId("async-downloads-count");
    if (!centre) return;
    const fragment = centre.querySelector(".async-downloads-fragment");
    const running = Number(fragment?.dataset.running ?? 0);
    centre.classList.toggle("in-progress", fragment?.hasAttribute("data-in-progress") ?? false);
    const finished = [...items().values()].filter(isFinished).map((item) => item.id);
    const seen = readSeen();
    if (isOpen()) remember(finished);
    const fresh = isOpen() ? 0 : finished.filter((id) => !seen.has(id)).length;
    if (!button || !count) return;
    const number = running || fresh;
    count.textContent = number;
    count.hidden = !number;
    centre.classList.toggle("has-new", !running && fresh > 0);
    const label = running ? button.dataset.running : fresh ? button.dataset.new : button.dataset.label;
    button.setAttribute("aria-label", fill(label, { count: number }));
    if ("titleCount" in centre.dataset) {
      const title = document.title.replace(/^\(\d+\) /, "");
      document.title = number ? `(${number}) ${title}` : title;
    }
  };

  // Toasts for what finishes while the menu is closed

  const dismiss = (toast) => {
    toast.remove();
    const toasts = byId("async-downloads-toasts");
    if (toasts && !toasts.children.length) toasts.hidePopover();
  };

  const showToast = (item) => {
    const toasts = byId("async-downloads-toasts");
    const template = byId("async-downloads-toast");
    if (!toasts || !template) return;
    if (!toasts.matches(":popover-open")) toasts.showPopover();
    const toast = template.content.firstElementChild.cloneNode(true);
    const [text, link] = [toast.querySelector("p"), toast.querySelector("a")];
    const name = item.querySelector(".download-name")?.textContent ?? "";
    text.textContent = fill(text.dataset[item.dataset.state], { name });
    if (item.dataset.url) link.href = item.dataset.url;
    else link.remove();
    let timer = 0;
    const wait = () => {
      timer = setTimeout(() => dismiss(toast), TOAST_MILLISECONDS);
    };
    // It stays while somebody is at it.
    for (const name of ["pointerenter", "focusin"]) {
      toast.addEventListener(name, () => clearTimeout(timer));
    }
    for (const name of ["pointerleave", "focusout"]) toast.addEventListener(name, wait);
    toast.addEventListener("click", (event) => event.target.closest("a, button") && dismiss(toast));
    toasts.append(toast);
    wait();
  };

  let known = new Map();
  const takeStock = () => {
    const now = items();
    for (const [id, item] of now) {
      const before = known.get(id);
      const changed = before !== undefined && before !== item.dataset.state;
      if (changed && isFinished(item) && !isOpen()) showToast(item);
    }
    known = new Map([...now].map(([id, item]) => [id, item.dataset.state]));
    updateCount();
  };

  // The focus stays in the menu when the button that had it is swapped away

  let place = -1;
  const focusable = () => [...byId("downloads-dropdown").querySelectorAll("a[href], button")];
  const keepPlace = () => {
    place = isOpen() ? focusable().indexOf(document.activeElement) : -1;
  };
  const restorePlace = () => {
    if (place < 0 || document.activeElement !== document.body) return;
    const candidates = focusable();
    (candidates[Math.min(place, candidates.length - 1)] ?? byId("downloads-dropdown")).focus();
    place = -1;
  };

  // Whether the server can be reached

  const isOurs = (event) => event.target.closest?.("#async-downloads") != null;
  const setLost = (lost) => byId("async-downloads")?.classList.toggle("is-lost", lost);

  // Looking again at once: when the page is shown again, or a site's own script asks for it

  let looked = 0;
  const look = () => {
    if (Date.now() - looked < LOOK_AGAIN_MILLISECONDS) return;
    looked = Date.now();
    document.body.dispatchEvent(new Event("async-downloads:look"));
  };

  // The socket sends what has changed. As long as there is none, the page polls instead

  const SIGNED_OUT = 4401;
  const CONNECTED_BY_HTMX = [1006, 1011, 1012, 1013];
  const CONNECT_MILLISECONDS = 3_000;
  const LONGEST_PAUSE_MILLISECONDS = 10_000;
  const NEVER = 2 ** 31 - 1;

  const fragment = () => document.querySelector("#async-downloads .async-downloads-fragment");
  const pause = (tries) => Math.random() * Math.min(1_000 * 2 ** tries, LONGEST_PAUSE_MILLISECONDS);

  let isPushed = false;
  let failures = 0;
  let fallback = 0;
  const pollInstead = (milliseconds, isSure) => {
    clearTimeout(fallback);
    fallback = setTimeout(() => {
      const seconds = Number(fragment()?.dataset.pollSeconds ?? 0);
      if (seconds || isSure) document.body.dispatchEvent(new Event("async-downloads:look"));
      pollInstead(1_000 * (seconds || 1), false);
    }, milliseconds);
  };

  const onMessage = (event) => {
    if (!isOurs(event)) return;
    clearTimeout(fallback);
    [isPushed, failures] = [true, 0];
    setLost(false);
  };

  const onClose = (event) => {
    if (!isOurs(event)) return;
    const { code } = event.detail.event;
    // Something may have changed meanwhile, or the session has ended.
    if (isPushed) pollInstead(pause(0), true);
    isPushed = false;
    if (code === SIGNED_OUT || CONNECTED_BY_HTMX.includes(code)) return;
    failures += 1;
    setTimeout(() => event.detail.socketWrapper.reconnect(), 1_000 + pause(failures));
  };

  const connect = async (centre) => {
    pollInstead(CONNECT_MILLISECONDS, false);
    document.addEventListener("htmx:wsAfterMessage", onMessage);
    document.addEventListener("htmx:wsClose", onClose);
    if (!window.htmx.createWebSocket) {
      await load(sources[1]);
      // Where the socket is refused because nobody is signed in, it is of no use to try again.
      window.htmx.config.wsReconnectDelay = (tries) => (fragment() ? pause(tries) : NEVER);
    }
    // htmx looks at an element again only if its attributes have changed since, so they
    // are set here, once the extension that understands them is there.
    centre.setAttribute("hx-ext", "ws");
    centre.setAttribute("ws-connect", centre.dataset.wsConnect);
    window.htmx.process(centre);
  };

  const listen = () => {
    document.addEventListener("htmx:beforeSwap", keepPlace);
    document.addEventListener("htmx:afterSettle", () => {
      takeStock();
      restorePlace();
    });
    document.addEventListener("htmx:oobBeforeSwap", keepPlace);
    document.addEventListener("htmx:oobAfterSwap", () => {
      takeStock();
      restorePlace();
    });
    for (const name of ["htmx:sendError", "htmx:timeout", "htmx:responseError"]) {
      document.addEventListener(name, (event) => isOurs(event) && setLost(true));
    }
    document.addEventListener("htmx:afterRequest", (event) => {
      if (event.detail.successful) setLost(false);
    });
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") look();
    });
    window.addEventListener("online", look);
    window.addEventListener("storage", (event) => event.key === SEEN && updateCount());
    byId("downloads-dropdown")?.addEventListener("toggle", updateCount);
  };

  const start = async () => {
    takeStock();
    if (!window.htmx) {
      configure();
      await load(sources[0]);
    }
    const centre = byId("async-downloads");
    if (sources[1] && centre?.dataset.wsConnect) {
      // Without its script, too, there is the fallback.
      await connect(centre).catch(() => {});
    }
    document.dispatchEvent(new Event("async-downloads:ready"));
  };

  listen();
  // By now any htmx of the site's own is there; and an htmx that is loaded between
  // "interactive" and "complete" would wait for an event that is already past.
  if (document.readyState === "complete") start();
  else window.addEventListener("load", start);
})();
