// The script of lists of downloads, in the menu and on the page of all downloads: it swaps a list
// so that a person notices nothing else, sends its forms, shows times in words, and lets a removal
// be undone. It shows toasts, too. The download centre's script loads it with the first of these.
(() => {
  const app = window.asyncDownloadsCentre;
  if (!app || app.swap) return;
  const { CENTRE, MENU, ROOTS, openLists, part, pathOf, poll } = app;
  const { setFailed, show, shownCentre, update, updateUrl } = app;

  // Morphing: what has not changed keeps its focus, its scroll position and its selected text

  // What a person has changed: an opened <details>, and what can be undone.
  const KEPT = ["open", "data-removed"];
  const isSame = (old, fresh) => old.nodeName === fresh.nodeName && old.id === fresh.id;
  const morphNode = (old, fresh) => {
    if (old.isEqualNode(fresh)) return;
    if (old.nodeType !== Node.ELEMENT_NODE) {
      old.data = fresh.data;
      return;
    }
    for (const { name, value } of fresh.attributes) old.setAttribute(name, value);
    for (const name of old.getAttributeNames()) {
      if (!fresh.hasAttribute(name) && !KEPT.includes(name)) old.removeAttribute(name);
    }
    morph(old, fresh);
  };
  const morph = (parent, content) => {
    const nodes = [...content.childNodes];
    nodes.forEach((fresh, index) => {
      const rest = [...parent.childNodes].slice(index);
      // One with an id may be further on: those before it are gone, as is text before others.
      const end = rest.findIndex(
        (old) => isSame(old, fresh) || (!fresh.id && old.nodeType === Node.ELEMENT_NODE),
      );
      if (end >= 0 && isSame(rest[end], fresh)) {
        rest.slice(0, end).forEach((gone) => gone.remove());
        morphNode(rest[end], fresh);
      } else {
        parent.insertBefore(fresh, rest[0] ?? null);
      }
    });
    while (parent.childNodes.length > nodes.length) parent.lastChild.remove();
  };

  // The focus stays in the menu when the button that had it disappears
  const focusable = (root) => [...root.querySelectorAll("a[href], button, summary")];
  app.swap = (target, content) => {
    const element = document.activeElement;
    const index = target.contains(element) ? focusable(target).indexOf(element) : -1;
    // After "Try again", the item gets it, not the button that cancels: the key may still be down.
    const item = element?.matches(".download-retry") && element.closest(".download-container");
    showTimes(content);
    morph(target, content);
    window.htmx.process(target);
    if (index < 0 || target.contains(document.activeElement)) return;
    const candidates = focusable(target);
    ((item?.isConnected && item) || candidates[index] || candidates.at(-1) || target).focus();
  };

  // Between the press and the release of a pointer, nothing moves: responses wait
  let release = () => {};
  const onPress = ({ target }) => {
    release();
    if (target.closest?.(ROOTS)) app.released = new Promise((resolve) => (release = resolve));
  };
  // After the click.
  const onRelease = () => setTimeout(release);

  // Times in words, such as "2 min. ago"; without this script they are dates

  const TIMES_MILLISECONDS = 30_000;
  const UNITS = [["day", 86_400], ["hour", 3_600], ["minute", 60]];
  const showTimes = (root) => {
    const language = document.documentElement.lang || [];
    try {
      const words = new Intl.RelativeTimeFormat(language, { numeric: "auto", style: "short" });
      for (const time of root.querySelectorAll(".download-measure time:not(.download-until)")) {
        const seconds = (Date.parse(time.dateTime) - Date.now()) / 1_000;
        const isLong = ([, length]) => Math.abs(seconds) >= length;
        const [unit, length] = UNITS.find(isLong) ?? ["second", Infinity];
        // In Hebrew, some browsers add the number to a word for one or two: "(2)".
        const text = words.format(Math.round(seconds / length), unit).replace(/ \(\d\)$/, "");
        if (time.textContent !== text) time.textContent = text;
      }
    } catch {
      // The browser does not know the language of the page.
    }
  };

  // Undo: what a person removes is hidden at once, and removed a moment later

  const UNDO_MILLISECONDS = 5_000;
  const FETCH_MILLISECONDS = 1_500;
  const ITEM = ".download-container";
  const UNDO = ".async-downloads-undo";
  const CLEAR = "button:is(.download-clear, .async-downloads-clear-finished)";
  const FINISHED = `${ITEM}:is([data-state="complete"], [data-state="failed"])`;
  const KEEPING = '[data-team], [data-held], [data-removed="one"]';

  // The first of a removal's places has the buttons: an item, or the header of a list.
  const placeOf = (button) => button.closest(`${ITEM}, .async-downloads-header`);
  const removals = new Set();
  const mark = ({ places }, how) => {
    for (const place of places) place.dataset.removed = how;
  };
  const remove = (button, url) => {
    const place = placeOf(button);
    const body = new FormData(button.form, button);
    body.delete("next");
    const isOne = place.matches(ITEM);
    const finished = place.closest(ROOTS).querySelectorAll(`${FINISHED}:not(${KEEPING})`);
    const removal = { url, body, places: isOne ? [place] : [place, ...finished] };
    mark(removal, isOne ? "one" : "all");
    removals.add(removal);
    setTimeout(send, UNDO_MILLISECONDS, removal);
    place.querySelector(UNDO).focus();
  };
  const bringBack = (place) => {
    const removal = [...removals].find(({ places }) => places[0] === place);
    removals.delete(removal);
    mark(removal ?? { places: [place] }, "");
    place.querySelector(CLEAR)?.focus();
  };
  const send = async (removal) => {
    if (!removals.delete(removal)) return;
    const focused = document.activeElement;
    mark(removal, "sent");
    if (focused?.matches(UNDO) && !focused.getClientRects().length) {
      (focused.closest(ITEM)?.nextElementSibling ?? focused.closest(MENU))?.focus();
    }
    const headers = { Accept: "application/json" };
    const options = { method: "POST", body: removal.body, headers, keepalive: true };
    const response = await fetch(removal.url, options).catch(() => null);
    // 404: it was removed before.
    if (response?.ok || response?.status === 404) return poll();
    mark(removal, "");
    // 409: staff keep it, and the list says so. 401: the session has ended, and the list says so.
    return [401, 409].includes(response?.status) ? poll() : setFailed(true, true);
  };

  // Toasts

  const TOAST_MILLISECONDS = 10_000;
  const dismiss = (toast) => {
    const hadFocus = toast.contains(document.activeElement);
    const region = toast.parentElement;
    toast.remove();
    if (hadFocus) part(shownCentre(), "button")?.focus();
    region?.togglePopover(region.children.length > 0);
  };
  const hideToasts = (selector) => {
    document.querySelectorAll(`.async-downloads-toast${selector}`).forEach(dismiss);
  };
  const onToggle = ({ target, newState }) => {
    // The open menu shows the same, and the focus must not be on what is about to go.
    if (newState === "open" && target.matches?.(MENU)) hideToasts("");
  };
  const showToast = (toast) => {
    const region = part(shownCentre(), "toasts");
    // Two polls at once bring the same toast.
    if (!region || region.querySelector(`[data-download="${toast.dataset.download}"]`)) return;
    region.togglePopover(true);
    region.append(toast);
    const timer = setInterval(() => {
      // It stays while it has the pointer or the focus.
      if (toast.matches(":hover, :focus-within")) return;
      clearInterval(timer);
      dismiss(toast);
    }, TOAST_MILLISECONDS);
  };
  app.showToasts = (summary) => {
    if (!Number(summary.dataset.unseen)) hideToasts("[data-download]");
    const announcer = part(openLists(MENU)[0]?.closest(CENTRE), "announcer");
    const names = [...summary.querySelectorAll("[data-download] .download-name")];
    // In the open menu, only a screen reader needs to hear of what has finished.
    if (announcer && names.length) {
      announcer.textContent = names.map((name) => name.textContent).join(" ");
    }
    summary.querySelectorAll(announcer ? "[data-refused]" : ":scope > *").forEach(showToast);
  };

  // The forms of the menu send requests; those of the page of all downloads are plain forms

  const onSubmit = (event) => {
    const { target: form, submitter } = event;
    const menu = form.closest(MENU);
    const url = submitter?.getAttribute("formaction") ?? form.getAttribute("action") ?? "";
    // A site's own list may have items without "Undo", and other forms.
    if (submitter?.matches(CLEAR) && placeOf(submitter)?.querySelector(UNDO)) {
      remove(submitter, url);
    } else if (menu && pathOf(url).startsWith(pathOf(`${updateUrl()}..`))) {
      update(menu, url, Object.fromEntries(new FormData(form, submitter)), "POST");
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  };
  const onClick = (event) => {
    const button = event.target.closest?.("button, a");
    if (button?.matches("a:is(.download-get, .download-name)")) {
      // Boosted links and Unpoly would request a file as a page.
      event.stopPropagation();
      // A moment later the list shows that the file has been fetched.
      setTimeout(poll, FETCH_MILLISECONDS);
    }
    if (button?.matches(UNDO)) bringBack(placeOf(button));
    if (button?.matches(".async-downloads-show")) show();
    const toast = button?.closest(".async-downloads-toast");
    if (toast) dismiss(toast);
  };

  const listen = (name, listener) => document.addEventListener(name, listener, true);
  listen("click", onClick);
  listen("submit", onSubmit);
  listen("toggle", onToggle);
  listen("pointerdown", onPress);
  for (const name of ["pointerup", "pointercancel"]) listen(name, onRelease);
  window.addEventListener("pagehide", () => removals.forEach(send));
  showTimes(document);
  setInterval(showTimes, TIMES_MILLISECONDS, document);
})();
