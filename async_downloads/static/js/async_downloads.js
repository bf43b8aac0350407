// Deprecated, for sites that include this script as django-async-downloads 0.6 documented it:
// <script src=".../async_downloads.js" id="async-downloads-script" data-url="..." data-clear-url="...">
// It passes the two URLs to htmx. New sites need only the download centre.
(() => {
  const script = document.currentScript || document.getElementById("async-downloads-script");
  const { url, clearUrl } = script.dataset;
  const target = "#downloads-dropdown";

  const csrfToken = () => (document.cookie.match(/(?:^|; )csrftoken=([^;]+)/) || [])[1];

  // The URLs of the script tag win over those that the server rendered.
  const setUrl = (event) => {
    if (!event.target.closest("#async-downloads")) return;
    // The URL is "action" of a request in htmx 4, and "path" in htmx 2.
    const request = event.detail.ctx?.request ?? event.detail;
    const key = event.detail.ctx ? "action" : "path";
    // Only for the package's own requests: a site's list may send others.
    if (event.target.matches(".async-downloads-poll") && url) request[key] = url;
    if (event.target.matches("form:has(.download-clear)") && clearUrl) request[key] = clearUrl;
    if (!request.headers["X-CSRFToken"] && csrfToken()) request.headers["X-CSRFToken"] = csrfToken();
  };
  document.addEventListener("htmx:configRequest", setUrl);
  document.addEventListener("htmx:config:request", setUrl);

  // A site's own list template may still have the markup of 0.6, without forms and links.
  document.addEventListener("click", (event) => {
    const item = event.target.closest("#async-downloads .download-container");
    if (!item || event.target.closest("form, a")) return;
    if (event.target.closest(".download-clear")) {
      const values = { filepath: item.dataset.filepath };
      window.htmx.ajax("POST", clearUrl, { source: item, target, swap: "innerHTML", values });
    } else if (event.target.closest(".download-name") && item.dataset.url) {
      window.location.assign(item.dataset.url);
    }
  });

  // A site's own download centre may have no list in it yet.
  document.addEventListener("async-downloads:ready", () => {
    const list = document.querySelector(target);
    if (list && !list.querySelector(".async-downloads-fragment")) {
      window.htmx.ajax("GET", url, { source: list, target, swap: "innerHTML" });
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
    centre.nonce = script.nonce;
    document.head.append(centre);
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", addCentre);
  else addCentre();
})();
