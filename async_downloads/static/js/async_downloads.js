// Deprecated, for sites that include this script as django-async-downloads 0.6 documented it:
// <script src=".../async_downloads.js" id="async-downloads-script" data-url="..." data-clear-url="...">
// It passes the two URLs to the download centre's script. New sites need only the download centre.
(() => {
  const script = document.currentScript || document.getElementById("async-downloads-script");
  const { url, clearUrl } = script.dataset;

  const csrfToken = () => (document.cookie.match(/(?:^|; )csrftoken=([^;]+)/) || [])[1];

  // The URLs of the script tag win over those that the server rendered.
  const setUrl = () => {
    const centre = document.getElementById("async-downloads");
    if (centre && url) centre.dataset.url = url;
  };
  document.addEventListener("submit", ({ target: form }) => {
    // Only for the package's own forms: a site's list may have others.
    const isOwn = form.matches("#async-downloads form:has(button.download-clear)");
    if (isOwn && clearUrl) form.setAttribute("action", clearUrl);
  }, true);

  // A site's own list template may still have the markup of 0.6, without forms and links.
  document.addEventListener("click", ({ target }) => {
    const item = target.closest("#async-downloads .download-container");
    if (!item || target.closest("button, a")) return;
    if (target.closest(".download-clear")) {
      const form = Object.assign(document.createElement("form"), { method: "post", hidden: true });
      form.setAttribute("action", clearUrl);
      const token = document.querySelector("#async-downloads [name=csrfmiddlewaretoken]")?.value ?? csrfToken();
      for (const [name, value] of [["filepath", item.dataset.filepath], ["csrfmiddlewaretoken", token]]) {
        form.append(Object.assign(document.createElement("input"), { name, value }));
      }
      item.append(form);
      form.requestSubmit();
    } else if (target.closest(".download-name") && item.dataset.url) {
      window.location.assign(item.dataset.url);
    }
  });

  // A site's own download centre may come without the script. Only a page that is fully parsed
  // shows that. Static files may have a hash in their names, so the package serves both scripts
  // itself, beside the URL that the script tag names.
  const addCentre = () => {
    if (document.querySelector("script[src*='async_downloads_centre']")) return;
    const beside = (name) => new URL(`../scripts/${name}`, new URL(url, document.baseURI)).href;
    const centre = document.createElement("script");
    centre.src = beside("async_downloads_centre.js");
    centre.dataset.htmx = beside("htmx-2.min.js");
    centre.dataset.list = beside("async_downloads_list.js");
    centre.nonce = script.nonce;
    document.head.append(centre);
  };
  // Its markup has ids instead of classes.
  const LEGACY_IDS = {
    centre: "async-downloads",
    menu: "downloads-dropdown",
    button: "navbarDropdownAsyncDownloads",
    count: "async-downloads-count",
  };
  const addClasses = () => {
    for (const [name, id] of Object.entries(LEGACY_IDS)) {
      document.getElementById(id)?.classList.add(`async-downloads-${name}`);
    }
  };
  const start = () => {
    setUrl();
    addClasses();
    addCentre();
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
