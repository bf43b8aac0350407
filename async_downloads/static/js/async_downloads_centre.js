// The script of the download centre. The page carries a button with its count; this shows changes
// of the count, and requests the list when the menu opens. The script of lists shows the rest.
(() => {
  if (window.asyncDownloadsCentre) return;
  // What the script of lists uses, see the end; it sets swap, showToasts and released.
  const app = (window.asyncDownloadsCentre = {});

  const RETRY_MILLISECONDS = 1_000;
  const STALE_MILLISECONDS = 5_000;
  const REQUEST_MILLISECONDS = 30_000;

  const CENTRE = ".async-downloads-centre";
  const MENU = ".async-downloads-menu";
  const ALL = ".async-downloads";
  const ROOTS = `${CENTRE}, ${ALL}`;
  const LISTS = `${MENU}, ${ALL}`;

  const script = document.currentScript;

  const centres = () => [...document.querySelectorAll(CENTRE)];
  // A page may have one for phones and another one for wide screens.
  const shownCentre = () => centres().find((each) => each.getClientRects().length) ?? centres()[0];
  const part = (root, name) => root?.querySelector(`.async-downloads-${name}`);
  // The page of all downloads is open, and so is a menu of a site's own that is not a popover.
  const isOpen = (menu) => !menu.hasAttribute("popover") || menu.matches(":popover-open");
  const openLists = (selector) => [...document.querySelectorAll(selector)].filter(isOpen);
  const updateUrl = () => centres()[0]?.dataset.url;
  const pathOf = (url) => new URL(url, document.baseURI).pathname;

  // Requests, by the htmx of the page or by ours. Each has an element of its own, in a shadow tree
  // beside <body>: it inherits nothing from the page, and no handler of the page finds its target.

  const append = (name, properties) => {
    document.head.append(Object.assign(document.createElement(name), properties));
  };
  const loading = {};
  // One that fails to load is loaded again when it is needed again.
  const load = (src) =>
    (loading[src] ??= new Promise((resolve) => {
      append("script", { src, nonce: script.nonce, onload: resolve, onerror: resolve });
    }).then(() => delete loading[src]));
  const loadHtmx = () => {
    // Both would need exceptions in a strict content security policy. The page's own come first.
    const content = JSON.stringify({ allowEval: false, includeIndicatorStyles: false });
    append("meta", { name: "htmx-config", content });
    return load(script.dataset.htmx);
  };
  const loadList = () => app.swap || load(script.dataset.list);

  const send = async (verb, url, values) => {
    if (!window.htmx) await loadHtmx();
    const [host, source] = [document.createElement("div"), document.createElement("div")];
    host.attachShadow({ mode: "open" }).append(source);
    document.documentElement.append(host);
    // The names of events in htmx 2, and in htmx 4, where a page may choose another character.
    const on = (names, listener) => {
      const colon = window.htmx.config.metaCharacter || ":";
      for (const name of names) source.addEventListener(name.replaceAll(":", colon), listener);
    };
    on(["htmx:configRequest", "htmx:config:request"], ({ detail }) => {
      const settings = { timeout: REQUEST_MILLISECONDS, useUrlParams: verb === "GET" };
      Object.assign(detail.ctx?.request ?? detail, settings);
    });
    let response = null;
    on(["htmx:beforeSwap", "htmx:before:swap"], (event) => {
      event.preventDefault();
      const { xhr, ctx } = event.detail;
      response = ctx
        ? { status: ctx.response.status, text: ctx.text, url: ctx.response.raw.url }
        : { status: xhr.status, text: xhr.response, url: xhr.responseURL };
    });
    try {
      await window.htmx.ajax(verb, url, { source, target: source, swap: "innerHTML", values });
    } finally {
      host.remove();
    }
    return response;
  };

  // A navigation ends requests, also one that becomes a download: a single failure says little
  let failures = 0;
  let isRetrying = false;
  const setFailed = (isFailed, isCertain = false) => {
    // Those that fail together are one failure.
    if (isFailed && isRetrying && !isCertain) return;
    isRetrying = isFailed;
    failures = isFailed ? failures + 1 + isCertain : 0;
    for (const centre of centres()) centre.classList.toggle("is-lost", failures > 1);
    schedule();
  };

  // A response has the summary for the buttons, the list, or both. One that arrives after the
  // response to a later request is out of date
  let sent = 0;
  const received = new WeakMap();
  const update = async (target, url, values, verb = "GET") => {
    // A page has a download centre, the list of all downloads, or both.
    if (!url) return "";
    const number = ++sent;
    const response = await send(verb, url, values).catch(() => null);
    const isFailed = !response || response.status >= 400;
    setFailed(isFailed, verb === "POST");
    if (isFailed) return "";
    // The package's views do not redirect htmx: this is the site's sign-in page.
    const isRedirected = pathOf(response.url) !== pathOf(url);
    const html = isRedirected ? signInLink(target) : response.text;
    await receive(target, number, html);
    schedule();
    return html;
  };
  const signInLink = (target) => {
    const { signIn = "" } = target?.closest(ROOTS).dataset ?? {};
    const link = document.createElement("a");
    Object.assign(link, { href: window.location.href, textContent: signIn });
    return signIn && link.outerHTML;
  };

  const receive = async (target, number, html) => {
    const template = document.createElement("template");
    template.innerHTML = html;
    const summary = template.content.querySelector(".async-downloads-summary");
    summary?.remove();
    const list = template.content.firstElementChild;
    if (list || summary?.firstElementChild) await loadList();
    await app.released;
    if (!target || number < (received.get(target) ?? 0)) return;
    received.set(target, number);
    // A list works without its script, too: it has plain forms.
    const swap = app.swap ?? ((place, content) => place.replaceChildren(content));
    if (list) swap(target, template.content);
    if (!html || target.matches(ALL)) return;
    if (summary || !part(target, "fragment")) showState(summary?.dataset ?? {});
    if (summary) app.showToasts?.(summary);
    document.body.dispatchEvent(new Event("async-downloads:changed"));
  };

  // The buttons

  let state = {};
  const showState = (fresh) => {
    state = { ...fresh };
    const count = Number(state.count ?? 0);
    for (const centre of centres()) {
      centre.classList.toggle("in-progress", state.state === "in-progress");
      centre.classList.toggle("has-new", state.state === "has-new");
      const [button, number] = [part(centre, "button"), part(centre, "count")];
      button?.setAttribute("aria-label", state.label ?? button.title);
      if (number) Object.assign(number, { textContent: count, hidden: !count });
      part(centre, "ring circle")?.setAttribute("stroke-dasharray", `${state.percentage} 100`);
      if ("titleCount" in centre.dataset) {
        const title = document.title.replace(/^\(\d+\) /, "");
        document.title = count ? `(${count}) ${title}` : title;
      }
    }
  };

  // Polls: of the summary, or of the list in an open menu; and of the page of all downloads

  const prefetches = new WeakMap();
  // The menus that have opened, until the server knows that a person sees their lists.
  const opened = new WeakSet();
  const listState = (list) => part(list, "fragment")?.dataset ?? {};
  const requestList = async (list) => {
    loadList();
    // The list may be on its way.
    await prefetches.get(list);
    const { url, version = "" } = listState(list);
    const values = { since: state.since ?? "", version };
    if (!isOpen(list)) values.prefetch = 1;
    else if (opened.has(list)) values.opened = 1;
    const html = await update(list, list.matches(MENU) ? updateUrl() : url, values);
    if (html && values.opened) opened.delete(list);
  };

  let polledAt = Date.now();
  const poll = () => {
    polledAt = Date.now();
    isRetrying = false;
    schedule();
    const { version = "", since = "" } = state;
    if (!openLists(MENU).length) {
      update(part(centres()[0], "menu"), updateUrl(), { summary: 1, version, since });
    }
    openLists(LISTS).forEach(requestList);
  };
  const pollIfStale = () => {
    if (Date.now() - polledAt >= STALE_MILLISECONDS) poll();
  };
  let timer = 0;
  const schedule = () => {
    clearTimeout(timer);
    const polls = [state, ...openLists(ALL).map(listState)].map((each) => each.poll);
    const seconds = socket?.isPushing ? [] : polls.filter(Boolean);
    let pause = 1_000 * Math.min(...seconds);
    if (failures) pause = failures > 1 ? STALE_MILLISECONDS : RETRY_MILLISECONDS;
    if (pause < Infinity) timer = setTimeout(poll, pause);
  };

  // The list is there before the click, if the pointer or the focus comes first
  const prefetch = ({ target, type }) => {
    // After a click on a toast the focus comes too, and a download would end the request.
    if (type === "focusin" && !target.matches(":focus-visible")) return;
    const button = target.closest?.(".async-downloads-button");
    const menu = button && part(button.closest(CENTRE), "menu");
    if (!menu || isOpen(menu) || prefetches.has(menu)) return;
    prefetches.set(menu, requestList(menu));
    setTimeout(() => prefetches.delete(menu), STALE_MILLISECONDS);
  };
  const onToggle = ({ target, newState }) => {
    if (newState !== "open" || !target.matches?.(MENU)) return;
    opened.add(target);
    poll();
    // Safari does not focus a button that is clicked; the Tab key would pass over the menu.
    if (document.activeElement === document.body) target.focus();
  };

  // The websocket sends summaries. The page polls while it has none

  const SIGNED_OUT = 4401;
  const LONGEST_PAUSE_MILLISECONDS = 300_000;

  let socket = null;
  let attempts = 0;
  const connect = () => {
    const address = document.querySelector(`${CENTRE}[data-ws-connect]`)?.dataset.wsConnect;
    // The page may go on in another language.
    if (!address || socket?.address === address) return;
    socket?.close();
    const url = new URL(address, document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    url.searchParams.set("since", state.since ?? "");
    const fresh = (socket = Object.assign(new WebSocket(url), { address, isPushing: false }));
    fresh.onmessage = ({ data }) => {
      fresh.isPushing = true;
      attempts = 0;
      setFailed(false);
      receive(part(centres()[0], "menu"), ++sent, data);
      openLists(MENU).forEach(requestList);
    };
    fresh.onclose = ({ code }) => {
      if (socket !== fresh) return;
      socket = null;
      // The list may have changed in the meantime, or the session may have ended.
      if (fresh.isPushing) setTimeout(poll, 1_000 * Math.random());
      if (code === SIGNED_OUT) return;
      if (!fresh.isPushing && !attempts) {
        const consequence = "so this page polls. See the check W012.";
        console.warn(`async_downloads: no websocket opens at ${url}, ${consequence}`);
      }
      attempts += 1;
      // After a restart of the server, pages come back one by one.
      const pause = Math.min(1_000 * 2 ** attempts, LONGEST_PAUSE_MILLISECONDS);
      setTimeout(connect, pause * (0.5 + Math.random() / 2));
    };
  };

  // Download centres come with the page, and with each page that Turbo, Unpoly or htmx puts in

  // A page from the history, from a service worker or from a cache may be of any age.
  const isOld = () => {
    const [{ type, workerStart, transferSize } = {}] = performance.getEntriesByType("navigation");
    return type === "back_forward" || workerStart > 0 || transferSize === 0;
  };
  const adopted = new WeakSet();
  const adopt = () => {
    const fresh = [...document.querySelectorAll(ROOTS)].filter((root) => !adopted.has(root));
    if (!fresh.length) return;
    // Turbo, Unpoly and htmx copy pages that a person leaves, and show the copies again.
    const isCopy = fresh.some((root) => "adopted" in root.dataset);
    for (const root of fresh) {
      adopted.add(root);
      root.dataset.adopted = "";
    }
    const centre = fresh.find((root) => root.matches(CENTRE));
    if (centre) state = { ...centre.dataset };
    schedule();
    if (!state.version || isCopy || isOld()) poll();
    connect();
  };

  const show = () => part(shownCentre(), "menu[popover]")?.togglePopover(true);
  const onClick = ({ target }) => {
    // Without this script, the button leads to the page of all downloads.
    target.closest?.(".async-downloads-button")?.setAttribute("type", "button");
  };

  const start = () => {
    adopt();
    const observer = new MutationObserver(adopt);
    observer.observe(document.documentElement, { childList: true, subtree: true });
    const listen = (name, listener) => document.addEventListener(name, listener, true);
    listen("async-downloads:look", poll);
    listen("async-downloads:changed", () => openLists(ALL).forEach(requestList));
    listen("async-downloads:show", show);
    listen("click", onClick);
    listen("toggle", onToggle);
    for (const name of ["pointerover", "focusin"]) listen(name, prefetch);
    listen("visibilitychange", () => document.hidden || pollIfStale());
    window.addEventListener("focus", pollIfStale);
    window.addEventListener("online", poll);
    window.addEventListener("pageshow", ({ persisted }) => persisted && [poll(), connect()]);
    document.dispatchEvent(new Event("async-downloads:ready"));
  };

  Object.assign(app, { CENTRE, MENU, ROOTS, openLists, part, pathOf, poll });
  Object.assign(app, { setFailed, show, shownCentre, update, updateUrl });
  // At "load" the site's own htmx, if any, is there.
  if (document.readyState === "complete") start();
  else window.addEventListener("load", start);
})();
