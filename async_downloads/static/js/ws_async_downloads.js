// For sites that include this script as django-async-downloads 0.6 documented it:
// <script src=".../ws_async_downloads.js" id="async-downloads-script" data-url="http://...">
// It hands the address to htmx's websocket extension. New sites need only the download centre.
(() => {
  const script = document.currentScript || document.getElementById("async-downloads-script");

  const connect = () => {
    const centre = document.getElementById("async-downloads");
    if (!centre || !script.dataset.url) return;
    const url = new URL(script.dataset.url, window.location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const known = new URL(centre.dataset.wsConnect || url, window.location.href);
    // The server knows what its route asks for after the path that 0.6 documented.
    if (known.pathname.startsWith(url.pathname)) url.pathname = known.pathname;
    // It has to know the language of the page.
    if (!url.search) url.search = known.search;
    centre.dataset.wsConnect = url.href;
  };

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", connect);
  else connect();
})();
