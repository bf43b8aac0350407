// The script of the download centre. It loads htmx if the site does not, and shows changes: in
// the count on the button, in a toast, in the document's title. htmx does the rest.
(() => {
  if (window.asyncDownloadsCentre) return;
  window.asyncDownloadsCentre = true;

  const SEEN = "async-downloads-seen";
  const TOAST_MILLISECONDS = 10_000;
  const MIN_POLL_MILLISECONDS = 5_000;
  const REQUEST_MILLISECONDS = 30_000;

  // The events of htmx 2, with the equivalents of htmx 4, which have colons in their names
  const BEFORE_SWAP = ["htmx:beforeSwap", "htmx:oobBeforeSwap", "htmx:before:swap"];
  const AFTER_SWAP = ["htmx:afterSettle", "htmx:oobAfterSwap", "htmx:after:settle"];
  const AFTER_REQUEST = ["htmx:afterRequest", "htmx:after:request"];
  const ERRORS = [
    ...["htmx:sendError", "htmx:timeout", "htmx:responseError"],
    ...["htmx:error", "htmx:response:error"],
  ];

  const ROOTS = "#async-downloads, .async-downloads";

  const script = document.currentScript;

  const byId = (id) => document.getElementById(id);
  // The character between the words of htmx 4's names; a page may choose another one.
  const meta = () => window.htmx?.config.metaCharacter || ":";
  const on = (names, listener) => {
    for (const name of names) document.addEventListener(name.replaceAll(":", meta()), listener);
  };
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

  // Isolation: what a page sets for htmx, on <body> or in its configuration, must not reach the
  // download centre

  const isHtmx4 = () => window.htmx?.version.startsWith("4") ?? false;
  const sourceOf = ({ target, detail }) =>
    detail?.requestConfig?.elt ?? detail?.ctx?.sourceElement ?? target;
  const isFromCentre = (event) => sourceOf(event)?.closest?.(ROOTS) != null;

  const ancestors = (root) => {
    const elements = [];
    for (let element = root.parentElement; element; element = element.parentElement) {
      elements.push(element);
    }
    return elements;
  };

  // In htmx 2 the markup ends all inheritance except that of extensions: each is ignored by name.
  const ignoreExtensions = (root) => {
    const extensions = (element) =>
      ["hx-ext", "data-hx-ext"].flatMap((name) => element.getAttribute(name)?.split(",") ?? []);
    const names = ancestors(root).flatMap(extensions).map((name) => name.trim());
    const ignored = names.filter((name) => !name.startsWith("ignore:")).map((name) => `ignore:${name}`);
    const all = new Set([...extensions(root), ...ignored]);
    if (all.size) root.setAttribute("hx-ext", [...all].join(","));
  };

  // In htmx 4 only a nearer value ends inheritance, and an empty value has no effect. These would
  // have one even if empty: a verb makes an element send requests, and the others act on it.
  const ACTS_IF_EMPTY = /^hx-(get|post|put|patch|delete|action|ignore|on|preserve|history-elt|swap-oob|morph|ws|sse)/;
  const endInheritance = (root) => {
    const prefix = window.htmx.config.prefix || "hx-";
    for (const name of ancestors(root).flatMap((element) => element.getAttributeNames())) {
      const own = name.startsWith(prefix) ? `hx-${name.slice(prefix.length)}` : name;
      const base = ["append", "inherited"].reduce(
        (left, word) => (left.endsWith(meta() + word) ? left.slice(0, -word.length - 1) : left),
        own,
      );
      if (!base.startsWith("hx-") || ACTS_IF_EMPTY.test(base)) continue;
      for (const empty of [base, `${base}${meta()}inherited`]) {
        if (!root.hasAttribute(empty)) root.setAttribute(empty, "");
      }
    }
  };

  const isolate = () => {
    if (!window.htmx) return;
    document.querySelectorAll(ROOTS).forEach(isHtmx4() ? endInheritance : ignoreExtensions);
  };

  // In htmx 4 a verb that the page sets wins over an element's own verb, unless hx-action and
  // hx-method name the latter. Also, attributes further up in the download centre are not inherited.
  const VERBS = ["get", "post", "put", "patch", "delete"];
  const setOwnAttributes = ({ target }) => {
    const verb = VERBS.find((name) => target.hasAttribute?.(`hx-${name}`));
    const root = verb && target.closest(ROOTS);
    if (!root) return;
    const attributes = { "hx-action": target.getAttribute(`hx-${verb}`), "hx-method": verb };
    for (const name of ["hx-target", "hx-swap", "hx-headers"]) {
      const nearest = target.closest(`[${name}]`);
      if (root.contains(nearest)) attributes[name] = nearest.getAttribute(name);
    }
    for (const [name, value] of Object.entries(attributes)) {
      if (!target.hasAttribute(name)) target.setAttribute(name, value);
    }
  };

  // htmx 2 collects values from all ancestors, and no markup can end that.
  const VALUES = ["hx-vals", "data-hx-vals", "hx-vars", "data-hx-vars"];
  const namesIn = (element) =>
    VALUES.flatMap((name) =>
      [...(element.getAttribute(name) ?? "").matchAll(/([\w-]+)["']?\s*:/g)].map((match) => match[1]),
    );
  const dropForeignValues = ({ elt, parameters }) => {
    const root = elt.closest(ROOTS);
    const outside = ancestors(root);
    const inside = [elt, ...ancestors(elt)].filter((element) => !outside.includes(element));
    const own = new Set(inside.flatMap(namesIn));
    const form = elt.matches("form") ? new FormData(elt) : new FormData();
    for (const name of outside.flatMap(namesIn)) {
      if (own.has(name)) continue;
      if (form.has(name)) parameters[name] = form.getAll(name);
      else delete parameters[name];
    }
  };

  const configureRequest = (event) => {
    if (!isFromCentre(event)) return;
    const { detail } = event;
    if (detail.ctx) {
      detail.ctx.request.timeout ??= REQUEST_MILLISECONDS;
    } else {
      detail.useUrlParams = detail.verb === "get";
      dropForeignValues(detail);
    }
  };

  // Swap in a list and nothing else, at its own place, whatever the page's handlers decided.
  const configureSwap = ({ detail }) => {
    for (const { swapSpec } of detail.tasks ?? []) swapSpec.focusScroll ??= false;
    if (!detail.xhr) return;
    const header = (name) => detail.xhr.getResponseHeader(name);
    const { status } = detail.xhr;
    Object.assign(detail, {
      shouldSwap: status >= 200 && status < 300 && status !== 204,
      isError: status >= 400,
      selectOverride: undefined,
      swapOverride: header("HX-Reswap"),
      target: header("HX-Retarget") ? detail.target : detail.requestConfig.target,
    });
  };

  // The list

  const items = () => {
    const nodes = document.querySelectorAll("#downloads-dropdown .download-container[data-state]");
    return new Map([...nodes].map((item) => [item.id, item]));
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

  const saveSeen = (ids) => {
    try {
      localStorage.setItem(SEEN, JSON.stringify(ids));
    } catch {
      // A browser without storage shows them as new again.
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
    if (isOpen()) saveSeen(finished);
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

  // A finished download appears in a toast; if the menu is open, only a screen reader hears of it

  const nameOf = (item) => item.querySelector(".download-name")?.textContent ?? "";

  const messageFor = (item, text) => fill(text.dataset[item.dataset.state], { name: nameOf(item) });

  const announce = (finished) => {
    const announcer = byId("async-downloads-announcer");
    const text = byId("async-downloads-toast")?.content.querySelector("p");
    if (!announcer || !text || !finished.length) return;
    announcer.textContent = finished.map((item) => messageFor(item, text)).join(" ");
  };

  const dismiss = (toast) => {
    const hadFocus = toast.contains(document.activeElement);
    toast.remove();
    if (hadFocus) byId("navbarDropdownAsyncDownloads")?.focus();
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
    text.textContent = messageFor(item, text);
    if (item.dataset.url) link.href = item.dataset.url;
    else link.remove();
    let timer = 0;
    const startTimer = () => {
      clearTimeout(timer);
      if (!toast.isConnected || toast.matches(":hover, :focus-within")) return;
      timer = setTimeout(() => dismiss(toast), TOAST_MILLISECONDS);
    };
    // It stays while it has the pointer or the focus.
    for (const name of ["pointerenter", "focusin"]) {
      toast.addEventListener(name, () => clearTimeout(timer));
    }
    for (const name of ["pointerleave", "focusout"]) {
      // Only after the event does the page know what has the pointer and the focus now.
      toast.addEventListener(name, () => setTimeout(startTimer));
    }
    toast.addEventListener("click", (event) => event.target.closest("a, button") && dismiss(toast));
    toasts.append(toast);
    startTimer();
  };

  let states = new Map();
  const showChanges = () => {
    const current = items();
    const finished = [...current.values()].filter((item) => {
      const before = states.get(item.id);
      return before !== undefined && before !== item.dataset.state && isFinished(item);
    });
    if (isOpen()) announce(finished);
    else finished.forEach(showToast);
    states = new Map([...current].map(([id, item]) => [id, item.dataset.state]));
    updateCount();
  };

  // The focus stays in the menu when a swap removes the button that had it

  let focusIndex = -1;
  const focusable = () => [...byId("downloads-dropdown").querySelectorAll("a[href], button")];
  const saveFocus = () => {
    focusIndex = isOpen() ? focusable().indexOf(document.activeElement) : -1;
  };
  const restoreFocus = () => {
    if (focusIndex < 0 || document.activeElement !== document.body) return;
    const candidates = focusable();
    (candidates[Math.min(focusIndex, candidates.length - 1)] ?? byId("downloads-dropdown")).focus();
    focusIndex = -1;
  };

  // Polls out of turn: when the page is shown again, or when a site's own script requests one

  let polledAt = Date.now();
  const publish = (name) => document.body.dispatchEvent(new Event(name));
  const pollNow = () => {
    polledAt = Date.now();
    publish("async-downloads:look");
  };
  const pollIfStale = () => {
    if (Date.now() - polledAt >= MIN_POLL_MILLISECONDS) pollNow();
  };

  // The connection to the server, and the person's session

  let retry = 0;
  const setLost = (lost) => {
    byId("async-downloads")?.classList.toggle("is-lost", lost);
    clearTimeout(retry);
    if (lost) retry = setTimeout(pollNow, MIN_POLL_MILLISECONDS);
  };

  // The package's views for htmx do not redirect, so this is a redirect to the site's sign-in page.
  const wasRedirected = ({ xhr, requestConfig, ctx }) => {
    if (ctx) return ctx.response?.raw.redirected ?? false;
    if (!xhr?.responseURL || !requestConfig) return false;
    const path = (url) => new URL(url, document.baseURI).pathname;
    return path(xhr.responseURL) !== path(requestConfig.path);
  };

  const refuseSwap = (event) => {
    if (!isFromCentre(event)) return;
    configureSwap(event);
    const redirected = wasRedirected(event.detail);
    // By default, htmx 4 also swaps in pages of errors and responses without content.
    const status = event.detail.ctx?.response?.status ?? 200;
    if (!redirected && status >= 200 && status < 300 && status !== 204) return;
    event.preventDefault();
    const text = byId("async-downloads-signed-out");
    if (!redirected || !text) return;
    byId("downloads-dropdown")?.replaceChildren(text.content.cloneNode(true));
    showChanges();
  };

  // The websocket sends changes. The page polls while it has none

  const SIGNED_OUT = 4401;
  const RECONNECTED_BY_HTMX = [1006, 1011, 1012, 1013];
  const CONNECT_MILLISECONDS = 3_000;
  const LONGEST_PAUSE_MILLISECONDS = 300_000;
  const NEVER = 2 ** 31 - 1;

  const fragment = () => document.querySelector("#async-downloads .async-downloads-fragment");
  // Exponential backoff with jitter: after a restart of the server, pages come back one by one.
  const pause = (tries) =>
    (0.5 + Math.random() / 2) * Math.min(1_000 * 2 ** tries, LONGEST_PAUSE_MILLISECONDS);

  let isPushed = false;
  let isSignedOut = false;
  let isReported = false;
  let failures = 0;
  let fallback = 0;
  const pollInstead = (milliseconds, isForced) => {
    clearTimeout(fallback);
    fallback = setTimeout(() => {
      const poll = fragment()?.querySelector(".async-downloads-poll");
      const seconds = Number(poll?.dataset.pollSeconds ?? 0);
      if (seconds || isForced) pollNow();
      pollInstead(1_000 * (seconds || 1), false);
    }, milliseconds);
  };

  const onMessage = (event) => {
    if (!isFromCentre(event)) return;
    clearTimeout(fallback);
    [isPushed, isReported, failures] = [true, true, 0];
    setLost(false);
  };

  const onClose = (event) => {
    if (!isFromCentre(event)) return;
    const code = event.detail.event?.code ?? event.detail.code;
    // The list may have changed in the meantime, or the session may have ended.
    if (isPushed) pollInstead(1_000 * Math.random(), true);
    isPushed = false;
    isSignedOut = code === SIGNED_OUT;
    if (!isReported && !isSignedOut && fragment()) {
      isReported = true;
      const url = byId("async-downloads").dataset.wsConnect;
      console.warn(`async_downloads: no websocket opens at ${url}, so this page polls. See the check W012.`);
    }
    // htmx 4 always reconnects by itself; htmx 2 does so after these codes.
    const { socketWrapper } = event.detail;
    if (!socketWrapper || isSignedOut || RECONNECTED_BY_HTMX.includes(code)) return;
    failures += 1;
    setTimeout(() => socketWrapper.reconnect(), pause(failures));
  };

  // A person who is signed out cannot connect, so another attempt would be in vain.
  const refuseConnection = (event) => {
    if (isFromCentre(event) && (isSignedOut || !fragment())) event.preventDefault();
  };

  const attachWithHtmx4 = async (centre) => {
    on(["htmx:before:ws:connection"], refuseConnection);
    if (!window.htmx.ext?.ws) await load(script.dataset.htmx4Ws);
    const ws = {
      pauseOnBackground: false,
      reconnect: true,
      reconnectDelay: 1_000,
      reconnectMaxDelay: LONGEST_PAUSE_MILLISECONDS,
    };
    centre.setAttribute("hx-config", JSON.stringify({ ws }));
    centre.setAttribute(`hx-ws${meta()}connect`, centre.dataset.wsConnect);
  };

  const attachWithHtmx2 = async (centre) => {
    if (!window.htmx.createWebSocket) {
      await load(script.dataset.htmxWs);
      window.htmx.config.wsReconnectDelay = (tries) => (fragment() ? pause(tries) : NEVER);
    }
    centre.setAttribute("hx-ext", ["ws", centre.getAttribute("hx-ext")].filter(Boolean).join(","));
    centre.setAttribute("ws-connect", centre.dataset.wsConnect);
  };

  let connected = null;
  const connect = async () => {
    const centre = byId("async-downloads");
    // A boosted page replaces the download centre, and the old one's websocket closes.
    if (!centre?.dataset.wsConnect || !script.dataset.htmxWs || centre === connected) return;
    if (!connected) {
      on(["htmx:wsAfterMessage", "htmx:after:ws:message"], onMessage);
      on(["htmx:wsClose", "htmx:ws:close"], onClose);
    }
    connected = centre;
    pollInstead(CONNECT_MILLISECONDS, false);
    // htmx processes an element again only if its attributes have changed, so they are set
    // here, after the extension that reads them has loaded.
    await (isHtmx4() ? attachWithHtmx4 : attachWithHtmx2)(centre);
    window.htmx.process(centre);
  };

  const listen = () => {
    on(BEFORE_SWAP, (event) => {
      refuseSwap(event);
      saveFocus();
    });
    on(["htmx:configRequest", "htmx:config:request"], configureRequest);
    on(["htmx:before:init"], setOwnAttributes);
    on(AFTER_SWAP, (event) => {
      isolate();
      showChanges();
      if (event.target.closest?.("#downloads-dropdown")) publish("async-downloads:changed");
      restoreFocus();
      if (connected) connect().catch(() => {});
    });
    on(ERRORS, (event) => isFromCentre(event) && setLost(true));
    on(AFTER_REQUEST, (event) => {
      const { successful, ctx } = event.detail;
      if (isFromCentre(event) && (successful ?? ctx?.response?.status < 400)) setLost(false);
    });
    document.addEventListener("htmx:historyRestore", () => {
      byId("async-downloads-toasts")?.replaceChildren();
    });
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") pollIfStale();
    });
    window.addEventListener("focus", pollIfStale);
    window.addEventListener("online", pollNow);
    window.addEventListener("storage", (event) => event.key === SEEN && updateCount());
    const isMenu = (event) => event.target.id === "downloads-dropdown";
    // Captured, because "toggle" does not bubble and a boosted page replaces the menu.
    document.addEventListener("toggle", (event) => isMenu(event) && updateCount(), true);
  };

  // Run this as soon as the page's htmx, if any, has loaded: at best before htmx processes the
  // page. If it already has, it processes the download centre once more.
  let isPrepared = false;
  const prepare = () => {
    if (isPrepared) return;
    isPrepared = true;
    isolate();
    listen();
    if (!isHtmx4()) return;
    for (const root of document.querySelectorAll(ROOTS)) {
      if (root.querySelector("[data-htmx-powered]")) window.htmx.process(root, true);
    }
  };

  const start = async () => {
    prepare();
    showChanges();
    if (!window.htmx) {
      configure();
      await load(script.dataset.htmx);
      isolate();
    }
    // If the script of the websocket does not load, the page polls.
    await connect().catch(() => {});
    document.dispatchEvent(new Event("async-downloads:ready"));
  };

  if (window.htmx) prepare();
  else window.addEventListener("DOMContentLoaded", prepare, true);
  // At "load" the site's own htmx, if any, is there. An htmx that is loaded between "interactive"
  // and "complete" would wait for an event that has already fired.
  if (document.readyState === "complete") start();
  else window.addEventListener("load", start);
})();
