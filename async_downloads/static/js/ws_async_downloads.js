// Deprecated, for sites that include this script as django-async-downloads 0.6 documented it:
// <script src=".../ws_async_downloads.js" id="async-downloads-script" data-url="http://...">
// It passes the URL to the download centre's script. New sites need only the download centre.
(() => {
  const script = document.currentScript || document.getElementById("async-downloads-script");

  const connect = () => {
    const centre = document.getElementById("async-downloads");
    if (!centre || !script.dataset.url) return;
    const url = new URL(script.dataset.url, window.location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const rendered = new URL(centre.dataset.wsConnect || url, window.location.href);
    // The server's route may need more than the path that 0.6 documented.
    if (rendered.pathname.startsWith(url.pathname)) url.pathname = rendered.pathname;
    // The query holds the language of the page.
    if (!url.search) url.search = rendered.search;
    centre.dataset.wsConnect = url.href;
  };

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", connect);
  else connect();
})();
