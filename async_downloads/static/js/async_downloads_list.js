// The script of the list of downloads, in the menu and on the page of all downloads: it swaps the
// list so that a person notices nothing else, sends its forms, shows times in words, and lets a
// removal be undone. The download centre's script loads it with the first list.
(() => {
  const app = window.asyncDownloadsCentre;
  if (!app || app.hasList) return;
  app.hasList = true;

  const CENTRE = ".async-downloads-centre";
  const MENU = ".async-downloads-menu";
  const ROOTS = `${CENTRE}, .async-downloads`;

  // Morphing: what has not changed keeps its focus, its scroll position and its selected text

  const removed = (node) => {
    const next = node.nextSibling;
    node.remove();
    return next;
  };
  const isSame = (old, fresh) => old?.nodeName === fresh.nodeName && (old.id ?? "") === (fresh.id ?? "");
  const morphNode = (old, fresh) => {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    for (const name of old.getAttributeNames()) {
      // A person opens <details>.
      if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
    }
    morph(old, fresh);
  };
  const morph = (parent, content) => {
    let next = parent.firstChild;
    for (const fresh of [...content.childNodes]) {
      let old = next;
      // An element with an id may be further on: those before it are gone, as is text before others.
      while (old && !isSame(old, fresh) && (fresh.id || old.nodeType !== Node.ELEMENT_NODE)) old = old.nextSibling;
      if (isSame(old, fresh)) {
        while (next !== old) next = removed(next);
        next = old.nextSibling;
        morphNode(old, fresh);
      } else {
        parent.insertBefore(fresh, next);
      }
    }
    while (next) next = removed(next);
  };

  // The focus stays in the menu when the button that had it disappears
  const focusable = (root) => [...root.querySelectorAll("a[href], button, summary")];
  app.swap = (target, content) => {
    const element = document.activeElement;
    const index = target.contains(element) ? focusable(target).indexOf(element) : -1;
    // After "Try again", the item gets it, not the button that cancels: the key may still be down.
    const item = element?.matches(".download-retry") && element.closest(".download-container").id;
    showTimes(content);
    morph(target, content);
    window.htmx?.process(target);
    if (index >= 0 && !target.contains(document.activeElement)) {
      const candidates = focusable(target);
      const nearest = candidates[Math.min(index, candidates.length - 1)];
      ((item && document.getElementById(item)) || nearest || target).focus();
    }
  };

  // The forms of the menu send requests; those of the page of all downloads are plain forms

  const pathOf = (url) => new URL(url, document.baseURI).pathname;
  const onSubmit = (event) => {
    const { target: form, submitter } = event;
    const menu = form.closest(MENU);
    const url = submitter?.getAttribute("formaction") ?? form.getAttribute("action") ?? "";
    const ours = new URL(document.querySelector(CENTRE)?.dataset.url ?? "", document.baseURI);
    // A site's own list may have other forms.
    if (!menu || !pathOf(url).startsWith(pathOf(new URL("..", ours)))) return;
    event.preventDefault();
    event.stopPropagation();
    app.update(menu, url, Object.fromEntries(new FormData(form, submitter)), "POST");
  };

  // Times in words, such as "2 min. ago"; without this script they are dates

  const TIMES_MILLISECONDS = 30_000;
  const UNITS = [["day", 86_400], ["hour", 3_600], ["minute", 60]];
  const inWords = (seconds, language) => {
    const [unit, length] = UNITS.find((each) => Math.abs(seconds) >= each[1]) ?? ["second", Infinity];
    const words = new Intl.RelativeTimeFormat(language || [], { numeric: "auto", style: "short" });
    return words.format(Math.round(seconds / length), unit);
  };
  const showTimes = (root) => {
    for (const time of root.querySelectorAll(".download-measure time:not(.download-until)")) {
      try {
        const seconds = (Date.parse(time.dateTime) - Date.now()) / 1_000;
        const text = inWords(seconds, document.documentElement.lang);
        if (time.textContent !== text) time.textContent = text;
      } catch {
        return; // The browser does not know the language of the page.
      }
    }
  };

  // Undo: what a person removes is hidden at once, and removed a moment later. A stylesheet hides
  // it, as the next response would show again what is hidden in the markup

  const UNDO_MILLISECONDS = 5_000;
  const FETCH_MILLISECONDS = 1_500;
  const UNDO = ".async-downloads-undo";
  const look = () => document.body.dispatchEvent(new Event("async-downloads:look"));
  const removals = new Set();
  const stylesheet = new CSSStyleSheet();
  const hideRemoved = () => {
    const none = "{ display: none !important }";
    const rules = [...removals].map(({ keys, isOne, isSent }) => {
      const items = `:is(${keys.map((key) => `[id$="download-${key}"]`)})`;
      if (isSent) return `${items} ${none}`;
      const [hidden, shown] = isOne
        ? [`${items} .download-content`, `${items} .download-removed`]
        : [`${items}, .async-downloads-clear-finished`, `.async-downloads-header ${UNDO}`];
      return `${hidden} ${none} ${shown} { display: flex !important }`;
    });
    stylesheet.replaceSync(rules.join("\n"));
  };

  const sendRemoval = async (removal) => {
    if (removal.isSent || !removals.has(removal)) return;
    removal.isSent = true;
    const focused = document.activeElement;
    hideRemoved();
    if (focused?.matches(UNDO) && !focused.getClientRects().length) {
      (focused.closest(".download-container")?.nextElementSibling ?? focused.closest(MENU))?.focus();
    }
    const options = { method: "POST", body: removal.body, keepalive: true, redirect: "manual" };
    const response = await fetch(removal.url, options).catch(() => null);
    // A redirect leads back to the page, and 404 says that it was removed before.
    if (response?.ok || response?.type === "opaqueredirect" || response?.status === 404) return look();
    removals.delete(removal);
    hideRemoved();
    // Staff keep it: the list says so.
    return response?.status === 409 ? look() : app.setFailed(true, true);
  };

  const remove = (button, item) => {
    const body = new FormData(button.form, button);
    body.delete("next");
    const url = button.getAttribute("formaction") ?? button.form.getAttribute("action");
    const finished = button.closest(ROOTS).querySelectorAll(`[id]:is([data-state="complete"], [data-state="failed"]):not([data-team], [data-held])`);
    const keys = (item ? [item] : [...finished]).map(({ id }) => id.slice(-36));
    const removal = { body, url, keys, isOne: item !== null };
    removals.add(removal);
    setTimeout(sendRemoval, UNDO_MILLISECONDS, removal);
  };
  const bringBack = (item) => {
    for (const removal of removals) {
      const isMeant = item ? removal.isOne && item.id.endsWith(removal.keys[0]) : !removal.isOne;
      if (isMeant && !removal.isSent) removals.delete(removal);
    }
  };

  const onClick = (event) => {
    const button = event.target.closest?.("button, a");
    // A moment later the list shows that the file has been fetched.
    if (button?.matches("a.download-get, a.download-name")) setTimeout(look, FETCH_MILLISECONDS);
    const item = button?.closest(".download-container") ?? null;
    const place = item ?? button?.closest(".async-downloads-header");
    const [undo, clear] = [UNDO, "button:is(.download-clear, .async-downloads-clear-finished)"].map((selector) =>
      place?.querySelector(selector),
    );
    if (!undo || (button !== undo && button !== clear)) return;
    event.preventDefault();
    event.stopPropagation();
    if (button === undo) bringBack(item);
    else remove(button, item);
    hideRemoved();
    (button === undo ? clear : undo).focus();
  };

  document.adoptedStyleSheets = [...document.adoptedStyleSheets, stylesheet];
  document.addEventListener("click", onClick, true);
  document.addEventListener("submit", onSubmit, true);
  window.addEventListener("pagehide", () => removals.forEach(sendRemoval));
  if (document.readyState === "complete") showTimes(document);
  else window.addEventListener("load", () => showTimes(document));
  setInterval(showTimes, TIMES_MILLISECONDS, document);
})();
