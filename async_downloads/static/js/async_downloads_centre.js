// Goes with the download centre: loads htmx where the site does not, and tells what
// changed: the count on the button, a toast, the document's title. The rest is htmx.
(() => {
  if (window.asyncDownloadsCentre) return;
  window.asyncDownloadsCentre = true;

  const SEEN = "async-downloads-seen";
  const TOAST_MILLISECONDS = 10_000;
  const LOOK_AGAIN_MILLISECONDS = 5_000;
  const REQUEST_MILLISECONDS = 30_000;

  // What tells the same in htmx 2 and, with colons in its names, in htmx 4
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
  // The character in names that htmx 4 has between words, which a page may choose.
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

  // What a page says to htmx about itself, on <body> or in its configuration, is not about ours

  const isHtmx4 = () => window.htmx?.version.startsWith("4") ?? false;
  const sourceOf = ({ target, detail }) =>
    detail?.requestConfig?.elt ?? detail?.ctx?.sourceElement ?? target;
  const isOurs = (event) => sourceOf(event)?.closest?.(ROOTS) != null;

  const above = (root) => {
    const found = [];
    for (let element = root.parentElement; element; element = element.parentElement) {
      found.push(element);
    }
    return found;
  };

  // In htmx 2 the markup ends inheritance, but for extensions: those are ignored one by one.
  const ignoreExtensions = (root) => {
    const named = (element) =>
      ["hx-ext", "data-hx-ext"].flatMap((name) => element.getAttribute(name)?.split(",") ?? []);
    const names = above(root).flatMap(named).map((name) => name.trim());
    const ignored = names.filter((name) => !name.startsWith("ignore:")).map((name) => `ignore:${name}`);
    const all = new Set([...named(root), ...ignored]);
    if (all.size) root.setAttribute("hx-ext", [...all].join(","));
  };

  // In htmx 4 nothing ends it but a nearer value, and an empty one says nothing. These would say
  // something: an element with a verb sends requests, and the others are about themselves.
  const SAYS_SOMETHING = /^hx-(get|post|put|patch|delete|action|ignore|on|preserve|history-elt|swap-oob|morph|ws|sse)/;
  const endInheritance = (root) => {
    const prefix = window.htmx.config.prefix || "hx-";
    for (const name of above(root).flatMap((element) => element.getAttributeNames())) {
      const own = name.startsWith(prefix) ? `hx-${name.slice(prefix.length)}` : name;
      const base = ["append", "inherited"].reduce(
        (left, word) => (left.endsWith(meta() + word) ? left.slice(0, -word.length - 1) : left),
        own,
      );
      if (!base.startsWith("hx-") || SAYS_SOMETHING.test(base)) continue;
      for (const empty of [base, `${base}${meta()}inherited`]) {
        if (!root.hasAttribute(empty)) root.setAttribute(empty, "");
      }
    }
  };

  const isolate = () => {
    if (!window.htmx) return;
    document.querySelectorAll(ROOTS).forEach(isHtmx4() ? endInheritance : ignoreExtensions);
  };

  // In htmx 4 a verb of the page comes before our own, unless this is named, too; and what is said
  // further up within ours may have another name there.
  const VERBS = ["get", "post", "put", "patch", "delete"];
  const speakForItself = ({ target }) => {
    const verb = VERBS.find((name) => target.hasAttribute?.(`hx-${name}`));
    const root = verb && target.closest(ROOTS);
    if (!root) return;
    const said = { "hx-action": target.getAttribute(`hx-${verb}`), "hx-method": verb };
    for (const name of ["hx-target", "hx-swap", "hx-headers"]) {
      const nearest = target.closest(`[${name}]`);
      if (root.contains(nearest)) said[name] = nearest.getAttribute(name);
    }
    for (const [name, value] of Object.entries(said)) {
      if (!target.hasAttribute(name)) target.setAttribute(name, value);
    }
  };

  // htmx 2 gathers values from all the way up, and nothing in the markup can end that.
  const VALUES = ["hx-vals", "data-hx-vals", "hx-vars", "data-hx-vars"];
  const namesIn = (element) =>
    VALUES.flatMap((name) =>
      [...(element.getAttribute(name) ?? "").matchAll(/([\w-]+)["']?\s*:/g)].map((match) => match[1]),
    );
  const dropForeignValues = ({ elt, parameters }) => {
    const root = elt.closest(ROOTS);
    const outside = above(root);
    const inside = [elt, ...above(elt)].filter((element) => !outside.includes(element));
    const own = new Set(inside.flatMap(namesIn));
    const form = elt.matches("form") ? new FormData(elt) : new FormData();
    for (const name of outside.flatMap(namesIn)) {
      if (own.has(name)) continue;
      if (form.has(name)) parameters[name] = form.getAll(name);
      else delete parameters[name];
    }
  };

  const configureRequest = (event) => {
    if (!isOurs(event)) return;
    const { detail } = event;
    if (detail.ctx) {
      detail.ctx.request.timeout ??= REQUEST_MILLISECONDS;
    } else {
      detail.useUrlParams = detail.verb === "get";
      dropForeignValues(detail);
    }
  };

  // Only a list is swapped in, and where it belongs, whatever the page does with answers.
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

  // What has finished is told: in a toast, or where the menu is open, to a screen reader alone

  const nameOf = (item) => item.querySelector(".download-name")?.textContent ?? "";

  const announce = (finished) => {
    const announcer = byId("async-downloads-announcer");
    const text = byId("async-downloads-toast")?.content.querySelector("p");
    if (!announcer || !text || !finished.length) return;
    const tell = (item) => fill(text.dataset[item.dataset.state], { name: nameOf(item) });
    announcer.textContent = finished.map(tell).join(" ");
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
    text.textContent = fill(text.dataset[item.dataset.state], { name: nameOf(item) });
    if (item.dataset.url) link.href = item.dataset.url;
    else link.remove();
    let timer = 0;
    const wait = () => {
      clearTimeout(timer);
      if (!toast.isConnected || toast.matches(":hover, :focus-within")) return;
      timer = setTimeout(() => dismiss(toast), TOAST_MILLISECONDS);
    };
    // It stays while somebody is at it.
    for (const name of ["pointerenter", "focusin"]) {
      toast.addEventListener(name, () => clearTimeout(timer));
    }
    for (const name of ["pointerleave", "focusout"]) {
      // Only afterwards does the page know what has the pointer and the focus now.
      toast.addEventListener(name, () => setTimeout(wait));
    }
    toast.addEventListener("click", (event) => event.target.closest("a, button") && dismiss(toast));
    toasts.append(toast);
    wait();
  };

  let known = new Map();
  const takeStock = () => {
    const now = items();
    const finished = [...now.values()].filter((item) => {
      const before = known.get(item.id);
      return before !== undefined && before !== item.dataset.state && isFinished(item);
    });
    if (isOpen()) announce(finished);
    else finished.forEach(showToast);
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

  // Looking again at once: when the page is shown again, or a site's own script asks for it

  let looked = Date.now();
  const publish = (name) => document.body.dispatchEvent(new Event(name));
  const ask = () => {
    looked = Date.now();
    publish("async-downloads:look");
  };
  const look = () => {
    if (Date.now() - looked >= LOOK_AGAIN_MILLISECONDS) ask();
  };

  // Whether the server can be reached, and whether it still knows who asks

  let retry = 0;
  const setLost = (lost) => {
    byId("async-downloads")?.classList.toggle("is-lost", lost);
    clearTimeout(retry);
    if (lost) retry = setTimeout(ask, LOOK_AGAIN_MILLISECONDS);
  };

  // Nothing of ours redirects, so that it is a site's own sign-in page that was led to.
  const wasRedirected = ({ xhr, requestConfig, ctx }) => {
    if (ctx) return ctx.response?.raw.redirected ?? false;
    if (!xhr?.responseURL || !requestConfig) return false;
    const path = (url) => new URL(url, document.baseURI).pathname;
    return path(xhr.responseURL) !== path(requestConfig.path);
  };

  const refuseSwap = (event) => {
    if (!isOurs(event)) return;
    configureSwap(event);
    const redirected = wasRedirected(event.detail);
    // htmx 4 swaps the pages of errors in, and answers without a page unless its settings say no.
    const status = event.detail.ctx?.response?.status ?? 200;
    if (!redirected && status >= 200 && status < 300 && status !== 204) return;
    event.preventDefault();
    const text = byId("async-downloads-signed-out");
    if (!redirected || !text) return;
    byId("downloads-dropdown")?.replaceChildren(text.content.cloneNode(true));
    takeStock();
  };

  // The socket sends what has changed. As long as there is none, the page polls instead

  const SIGNED_OUT = 4401;
  const CONNECTED_BY_HTMX = [1006, 1011, 1012, 1013];
  const CONNECT_MILLISECONDS = 3_000;
  const LONGEST_PAUSE_MILLISECONDS = 300_000;
  const NEVER = 2 ** 31 - 1;

  const fragment = () => document.querySelector("#async-downloads .async-downloads-fragment");
  // Less and less often; and not all pages at once, as after a restart of the server.
  const pause = (tries) =>
    (0.5 + Math.random() / 2) * Math.min(1_000 * 2 ** tries, LONGEST_PAUSE_MILLISECONDS);

  let isPushed = false;
  let isOver = false;
  let isKnown = false;
  let failures = 0;
  let fallback = 0;
  const pollInstead = (milliseconds, isSure) => {
    clearTimeout(fallback);
    fallback = setTimeout(() => {
      const poll = fragment()?.querySelector(".async-downloads-poll");
      const seconds = Number(poll?.dataset.pollSeconds ?? 0);
      if (seconds || isSure) ask();
      pollInstead(1_000 * (seconds || 1), false);
    }, milliseconds);
  };

  const onMessage = (event) => {
    if (!isOurs(event)) return;
    clearTimeout(fallback);
    [isPushed, isKnown, failures] = [true, true, 0];
    setLost(false);
  };

  const onClose = (event) => {
    if (!isOurs(event)) return;
    const code = event.detail.event?.code ?? event.detail.code;
    // Something may have changed meanwhile, or the session has ended.
    if (isPushed) pollInstead(1_000 * Math.random(), true);
    isPushed = false;
    isOver = code === SIGNED_OUT;
    if (!isKnown && !isOver && fragment()) {
      isKnown = true;
      const url = byId("async-downloads").dataset.wsConnect;
      console.warn(`async_downloads: no websocket opens at ${url}, so this page polls. See the check W012.`);
    }
    // htmx 4 connects again by itself, and so does htmx 2 after these.
    const { socketWrapper } = event.detail;
    if (!socketWrapper || isOver || CONNECTED_BY_HTMX.includes(code)) return;
    failures += 1;
    setTimeout(() => socketWrapper.reconnect(), pause(failures));
  };

  // Where the socket is refused because nobody is signed in, it is of no use to try again.
  const refuseConnection = (event) => {
    if (isOurs(event) && (isOver || !fragment())) event.preventDefault();
  };

  const attachBy4 = async (centre) => {
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

  const attachBy2 = async (centre) => {
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
    // A boosted page brings a new one, and the socket of the old one goes with it.
    if (!centre?.dataset.wsConnect || !script.dataset.htmxWs || centre === connected) return;
    if (!connected) {
      on(["htmx:wsAfterMessage", "htmx:after:ws:message"], onMessage);
      on(["htmx:wsClose", "htmx:ws:close"], onClose);
    }
    connected = centre;
    pollInstead(CONNECT_MILLISECONDS, false);
    // htmx looks at an element again only if its attributes have changed since, so they
    // are set here, once the extension that understands them is there.
    await (isHtmx4() ? attachBy4 : attachBy2)(centre);
    window.htmx.process(centre);
  };

  const listen = () => {
    on(BEFORE_SWAP, (event) => {
      refuseSwap(event);
      keepPlace();
    });
    on(["htmx:configRequest", "htmx:config:request"], configureRequest);
    on(["htmx:before:init"], speakForItself);
    on(AFTER_SWAP, (event) => {
      isolate();
      takeStock();
      if (event.target.closest?.("#downloads-dropdown")) publish("async-downloads:changed");
      restorePlace();
      if (connected) connect().catch(() => {});
    });
    on(ERRORS, (event) => isOurs(event) && setLost(true));
    on(AFTER_REQUEST, (event) => {
      const { successful, ctx } = event.detail;
      if (isOurs(event) && (successful ?? ctx?.response?.status < 400)) setLost(false);
    });
    document.addEventListener("htmx:historyRestore", () => {
      byId("async-downloads-toasts")?.replaceChildren();
    });
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") look();
    });
    window.addEventListener("focus", look);
    window.addEventListener("online", ask);
    window.addEventListener("storage", (event) => event.key === SEEN && updateCount());
    const isMenu = (event) => event.target.id === "downloads-dropdown";
    // It does not bubble, and a boosted page brings another menu.
    document.addEventListener("toggle", (event) => isMenu(event) && updateCount(), true);
  };

  // As soon as it is known which htmx the page has, if any: best before that looks at the page. It
  // may have looked already, and then looks once more.
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
    takeStock();
    if (!window.htmx) {
      configure();
      await load(script.dataset.htmx);
      isolate();
    }
    // Without the script of the socket, too, there is the fallback.
    await connect().catch(() => {});
    document.dispatchEvent(new Event("async-downloads:ready"));
  };

  if (window.htmx) prepare();
  else window.addEventListener("DOMContentLoaded", prepare, true);
  // By now any htmx of the site's own is there; and an htmx that is loaded between
  // "interactive" and "complete" would wait for an event that is already past.
  if (document.readyState === "complete") start();
  else window.addEventListener("load", start);
})();
