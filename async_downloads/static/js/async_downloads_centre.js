// The script of the download centre. The page carries a button with its count; this requests the
// list when the menu opens, and shows changes: in the count, in toasts, in the document's title.
(() => {
  if (window.asyncDownloadsCentre) return;
  // What the script of lists uses; it replaces swap, and sets hasList.
  const app = (window.asyncDownloadsCentre = { swap: (target, content) => target.replaceChildren(content) });

  const TOAST_MILLISECONDS = 10_000;
  const MAX_TOASTS = 3;
  const RETRY_MILLISECONDS = 1_000;
  const STALE_MILLISECONDS = 5_000;
  const REQUEST_MILLISECONDS = 30_000;

  const CENTRE = ".async-downloads-centre";
  const MENU = ".async-downloads-menu";
  const ALL = ".async-downloads";
  const ROOTS = `${CENTRE}, ${ALL}`;

  const script = document.currentScript;

  const centres = () => [...document.querySelectorAll(CENTRE)];
  // A page may have one for phones and another one for wide screens.
  const shownCentre = () => centres().find((each) => each.getClientRects().length) ?? centres()[0];
  const part = (centre, name) => centre?.querySelector(`.async-downloads-${name}`);
  // A menu of a site's own that is not a popover counts as open.
  const isOpen = (menu) => !menu.hasAttribute("popover") || menu.matches(":popover-open");
  const openMenu = () => [...document.querySelectorAll(MENU)].find(isOpen);
  const updateUrl = () => centres()[0]?.dataset.url;

  // Requests, by the htmx of the page or by ours. Each has an element of its own, in a shadow tree
  // beside <body>: it inherits nothing from the page, and no handler of the page finds its target.

  const append = (name, properties) => document.head.append(Object.assign(document.createElement(name), properties));
  const load = (src) =>
    new Promise((resolve, reject) => {
      append("script", { src, nonce: script.nonce, onload: resolve, onerror: reject });
    });
  // What a page needs only with a list; the page of all downloads includes it.
  let list = null;
  const loadList = () => {
    if (!app.hasList && script.dataset.list) list ??= load(script.dataset.list).catch(() => (list = null));
    return list;
  };
  let htmx = null;
  const loadHtmx = () => {
    if (!document.querySelector('meta[name="htmx-config"]')) {
      // Both would need exceptions in a strict content security policy.
      const content = JSON.stringify({ allowEval: false, includeIndicatorStyles: false });
      append("meta", { name: "htmx-config", content });
    }
    return load(script.dataset.htmx);
  };

  const send = (verb, url, values) =>
    new Promise((resolve, reject) => {
      const [host, source] = [document.createElement("div"), document.createElement("div")];
      host.attachShadow({ mode: "open" }).append(source);
      source.setAttribute("hx-request", JSON.stringify({ timeout: REQUEST_MILLISECONDS, credentials: false }));
      document.documentElement.append(host);
      // The names of events in htmx 2, and in htmx 4, where a page may choose another character.
      const on = (names, listener) => {
        const colon = window.htmx.config.metaCharacter || ":";
        for (const name of names) source.addEventListener(name.replaceAll(":", colon), listener);
      };
      on(["htmx:configRequest", "htmx:config:request"], ({ detail }) => {
        if (detail.ctx) detail.ctx.request.timeout = REQUEST_MILLISECONDS;
        else detail.useUrlParams = verb === "GET";
      });
      on(["htmx:beforeSwap", "htmx:before:swap"], (event) => {
        event.preventDefault();
        const { xhr, ctx } = event.detail;
        if (ctx) return resolve({ status: ctx.response.status, text: ctx.text, url: ctx.response.raw.url });
        return resolve({ status: xhr.status, text: xhr.response, url: xhr.responseURL });
      });
      const options = { source, target: source, swap: "innerHTML", values };
      window.htmx.ajax(verb, url, options).catch(() => {}).finally(() => {
        host.remove();
        reject(new Error(`${url} does not respond.`));
      });
    });

  const pathOf = (url) => new URL(url, document.baseURI).pathname;
  const request = async (verb, url, values) => {
    let response = { status: 0 };
    try {
      if (!window.htmx) await (htmx ??= loadHtmx());
      response = await send(verb, url, values);
    } catch {
      htmx = null;
    }
    const isFailed = !response.status || response.status >= 400;
    app.setFailed(isFailed, verb === "POST");
    if (isFailed) return null;
    // The package's views do not redirect htmx: this is the site's sign-in page.
    const isRedirected = pathOf(response.url) !== pathOf(url);
    if (isRedirected) showSignIn();
    return isRedirected || response.status >= 300 || response.status === 204 ? "" : response.text;
  };

  // A navigation ends requests, also one that becomes a download: a single failure says little
  let retry = 0;
  let failures = 0;
  app.setFailed = (isFailed, isCertain = false) => {
    // Those that fail together are one failure.
    if (isFailed && retry && !isCertain) return;
    clearTimeout(retry);
    retry = 0;
    failures = isFailed ? failures + 1 + isCertain : 0;
    const isLost = failures > 1;
    for (const centre of centres()) centre.classList.toggle("is-lost", isLost);
    if (isFailed) retry = setTimeout(poll, isLost ? STALE_MILLISECONDS : RETRY_MILLISECONDS);
  };

  const showSignIn = () => {
    for (const centre of centres()) {
      const link = document.createElement("a");
      Object.assign(link, { href: window.location.href, textContent: centre.dataset.signIn });
      part(centre, "menu")?.replaceChildren(link);
    }
    showState({});
  };

  // Between the press and the release of a pointer, nothing moves
  let isPressed = false;
  const waiting = new Map();
  const release = () => {
    isPressed = false;
    // After the click.
    setTimeout(() => {
      const responses = [...waiting];
      waiting.clear();
      for (const [target, [number, html]] of responses) receive(target, number, html);
    });
  };

  // A response has the summary for the buttons, the list, or both. One that arrives after the
  // response to a later request is out of date
  let sent = 0;
  const received = new WeakMap();
  const update = (app.update = async (target, url, values, verb = "GET") => {
    const number = ++sent;
    const [html] = await Promise.all([request(verb, url, values), values.summary || loadList()]);
    if (html !== null) receive(target, number, html);
    return html;
  });
  const receive = (target, number, html) => {
    if (!target || number < (received.get(target) ?? 0)) return;
    received.set(target, number);
    if (!html) return;
    if (isPressed) {
      waiting.set(target, [number, html]);
      return;
    }
    const template = document.createElement("template");
    template.innerHTML = html;
    const summary = template.content.querySelector(".async-downloads-summary");
    summary?.remove();
    if (template.content.firstElementChild) app.swap(target, template.content);
    if (target.matches(ALL)) return;
    if (summary) showSummary(summary);
    else if (!part(target, "fragment")) showState({});
    document.body.dispatchEvent(new Event("async-downloads:changed"));
  };

  // The buttons, and the toasts

  let state = {};
  const showState = (fresh) => {
    state = { ...fresh };
    const count = Number(state.count ?? 0);
    for (const centre of centres()) {
      centre.classList.toggle("in-progress", state.state === "in-progress");
      centre.classList.toggle("has-new", state.state === "has-new");
      const [button, number] = [part(centre, "button"), part(centre, "count")];
      const label = state.label ?? button?.title;
      if (label) button?.setAttribute("aria-label", label);
      if (number) Object.assign(number, { textContent: count, hidden: !count });
      part(centre, "ring")?.firstElementChild.setAttribute("stroke-dasharray", `${state.percentage} 100`);
      if ("titleCount" in centre.dataset) {
        const title = document.title.replace(/^\(\d+\) /, "");
        document.title = count ? `(${count}) ${title}` : title;
      }
    }
    schedule();
  };

  const showSummary = (summary) => {
    showState(summary.dataset);
    if (!Number(state.unseen)) hideToasts("[data-download]");
    const menu = openMenu();
    const announcer = menu && part(menu.closest(CENTRE), "announcer");
    const toasts = [...summary.children];
    const silent = announcer ? toasts.filter((toast) => !toast.hasAttribute("data-refused")) : [];
    toasts.filter((toast) => !silent.includes(toast)).forEach(showToast);
    // In the open menu, only a screen reader needs to hear of what has finished.
    const textOf = (toast) => (toast.querySelector(".download-name") ?? toast).textContent.trim();
    if (silent.length) announcer.textContent = silent.map(textOf).join(" ");
  };

  const dismiss = (toast) => {
    const hadFocus = toast.contains(document.activeElement);
    const region = toast.parentElement;
    toast.remove();
    if (hadFocus) part(shownCentre(), "button")?.focus();
    if (region && !region.children.length) region.hidePopover();
  };
  const hideToasts = (selector) => {
    document.querySelectorAll(`.async-downloads-toast${selector}`).forEach(dismiss);
  };
  const showToast = (toast) => {
    const region = part(shownCentre(), "toasts");
    // Two polls at once bring the same toast.
    if (!region || region.querySelector(`[data-download="${toast.dataset.download}"]`)) return;
    if (!region.matches(":popover-open")) region.showPopover();
    while (region.children.length >= MAX_TOASTS) region.firstElementChild.remove();
    let timer = 0;
    // It stays while it has the pointer or the focus.
    const startTimer = () => {
      clearTimeout(timer);
      timer = setTimeout(() => toast.matches(":hover, :focus-within") || dismiss(toast), TOAST_MILLISECONDS);
    };
    for (const name of ["pointerleave", "focusout"]) toast.addEventListener(name, startTimer);
    region.append(toast);
    startTimer();
  };

  // Polls: of the summary, or of the list in an open menu

  const prefetches = new WeakMap();
  // The menus that have opened, until the server knows that a person sees their lists.
  const opened = new WeakSet();
  const requestList = async (menu) => {
    // The list may be on its way.
    await prefetches.get(menu)?.response;
    const values = { since: state.since ?? "", version: part(menu, "fragment")?.dataset.version ?? "" };
    if (opened.has(menu)) values.opened = 1;
    if (await update(menu, updateUrl(), values)) opened.delete(menu);
  };
  const requestSummary = ([centre]) => {
    const { version = "", since = "" } = state;
    return centre && update(part(centre, "menu"), updateUrl(), { summary: 1, version, since });
  };

  let polledAt = Date.now();
  let timer = 0;
  const poll = () => {
    polledAt = Date.now();
    clearTimeout(retry);
    retry = 0;
    schedule();
    const menu = openMenu();
    return menu ? requestList(menu) : requestSummary(centres());
  };
  const schedule = () => {
    clearTimeout(timer);
    const seconds = Number(state.poll ?? 0);
    if (seconds && !isPushed) timer = setTimeout(poll, 1_000 * seconds);
  };
  const pollIfStale = () => {
    if (Date.now() - polledAt >= STALE_MILLISECONDS) poll();
  };

  let pageTimer = 0;
  const pollPage = async () => {
    const root = document.querySelector(ALL);
    const dataset = () => (root && part(root, "poll")?.dataset) ?? {};
    const { url, version } = dataset();
    if (url) await update(root, url, { version });
    clearTimeout(pageTimer);
    const seconds = Number(dataset().poll ?? 0);
    if (seconds) pageTimer = setTimeout(pollPage, 1_000 * seconds);
  };

  // The list is there before the click, if the pointer or the focus comes first
  const prefetch = ({ target, type }) => {
    // After a click on a toast the focus comes too, and a download would end the request.
    if (type === "focusin" && !target.matches(":focus-visible")) return;
    const menu = target.closest?.(".async-downloads-button") && part(target.closest(CENTRE), "menu");
    const isStale = menu && Date.now() - (prefetches.get(menu)?.at ?? 0) >= STALE_MILLISECONDS;
    if (!isStale || isOpen(menu)) return;
    const version = part(menu, "fragment")?.dataset.version ?? "";
    prefetches.set(menu, { at: Date.now(), response: update(menu, updateUrl(), { version, prefetch: 1 }) });
  };
  const onToggle = ({ target, newState }) => {
    if (newState !== "open" || !target.matches?.(MENU)) return;
    hideToasts("");
    opened.add(target);
    poll();
    // Safari does not focus a button that is clicked; the Tab key would pass over the menu.
    if (document.activeElement === document.body) target.focus();
  };

  // The websocket sends summaries. The page polls while it has none

  const SIGNED_OUT = 4401;
  const LONGEST_PAUSE_MILLISECONDS = 300_000;

  let socket = null;
  let isPushed = false;
  let closed = 0;
  const connect = () => {
    const address = centres().find((each) => each.dataset.wsConnect)?.dataset.wsConnect;
    // The page may go on in another language.
    if (!address || socket?.address === address) return;
    socket?.close();
    isPushed = false;
    const url = new URL(address, document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    url.searchParams.set("since", state.since ?? "");
    const fresh = Object.assign(new WebSocket(url), { address });
    socket = fresh;
    socket.onmessage = ({ data }) => {
      [isPushed, closed] = [true, 0];
      app.setFailed(false);
      const menu = openMenu();
      receive(part(centres()[0], "menu"), ++sent, data);
      return menu && requestList(menu);
    };
    socket.onclose = ({ code }) => {
      if (socket !== fresh) return;
      if (!isPushed && !closed && code !== SIGNED_OUT) {
        console.warn(`async_downloads: no websocket opens at ${url}, so this page polls. See the check W012.`);
      }
      // The list may have changed in the meantime, or the session may have ended.
      if (isPushed) setTimeout(poll, 1_000 * Math.random());
      [socket, isPushed] = [null, false];
      schedule();
      if (code === SIGNED_OUT) return;
      closed += 1;
      // After a restart of the server, pages come back one by one.
      const pause = Math.min(1_000 * 2 ** closed, LONGEST_PAUSE_MILLISECONDS);
      setTimeout(connect, pause * (0.5 + Math.random() / 2));
    };
  };

  // Download centres come with the page, and with each page that Turbo, Unpoly or htmx puts in

  const LEGACY_IDS = {
    centre: "async-downloads",
    menu: "downloads-dropdown",
    button: "navbarDropdownAsyncDownloads",
    count: "async-downloads-count",
  };
  // A page from the history, from a service worker or from a cache may be of any age.
  const isOld = () => {
    const [{ type, workerStart, transferSize } = {}] = performance.getEntriesByType("navigation");
    return type === "back_forward" || workerStart > 0 || transferSize === 0;
  };
  const adopted = new WeakSet();
  const adopt = () => {
    for (const [name, id] of Object.entries(LEGACY_IDS)) {
      document.getElementById(id)?.classList.add(`async-downloads-${name}`);
    }
    const root = document.querySelector(ALL);
    if (root && !adopted.has(root)) {
      adopted.add(root);
      Object.assign(root.dataset, { turbo: "false", turboPrefetch: "false" });
      pollPage();
    }
    const fresh = centres().filter((centre) => !adopted.has(centre));
    if (!fresh.length) return;
    // Turbo, Unpoly and htmx copy pages that a person leaves, and show the copies again.
    const isCopy = fresh.some((centre) => "adopted" in centre.dataset);
    for (const centre of fresh) {
      adopted.add(centre);
      // Otherwise Turbo would request a file when the pointer is on its link.
      Object.assign(centre.dataset, { adopted: "", turbo: "false", turboPrefetch: "false" });
    }
    state = { ...fresh[0].dataset };
    schedule();
    if (!state.version || isCopy || isOld()) poll();
    connect();
  };

  const show = () => {
    const menu = part(shownCentre(), "menu");
    if (menu && !isOpen(menu)) menu.showPopover();
  };
  const onClick = (event) => {
    const link = event.target.closest?.("a, button");
    // Without this script, the button leads to the page of all downloads.
    if (link?.matches(".async-downloads-button")) link.setAttribute("type", "button");
    if (link?.matches(".async-downloads-show")) show();
    // Boosted links and Unpoly would request a file as a page.
    if (link?.matches("a:is(.download-get, .download-name)")) event.stopPropagation();
    const toast = link?.closest(".async-downloads-toast");
    if (toast) dismiss(toast);
  };

  const start = () => {
    adopt();
    new MutationObserver(adopt).observe(document.documentElement, { childList: true, subtree: true });
    const listen = (name, listener) => document.addEventListener(name, listener, true);
    listen("async-downloads:look", poll);
    for (const name of ["async-downloads:look", "async-downloads:changed"]) listen(name, pollPage);
    listen("async-downloads:show", show);
    listen("click", onClick);
    listen("toggle", onToggle);
    for (const name of ["pointerover", "focusin"]) listen(name, prefetch);
    listen("pointerdown", ({ target }) => (isPressed = target.closest?.(ROOTS) != null));
    for (const name of ["pointerup", "pointercancel"]) listen(name, release);
    listen("visibilitychange", () => document.hidden || pollIfStale());
    window.addEventListener("focus", pollIfStale);
    window.addEventListener("online", poll);
    window.addEventListener("pageshow", ({ persisted }) => persisted && [poll(), pollPage(), connect()]);
    document.dispatchEvent(new Event("async-downloads:ready"));
  };

  // At "load" the site's own htmx, if any, is there.
  if (document.readyState === "complete") start();
  else window.addEventListener("load", start);
})();
