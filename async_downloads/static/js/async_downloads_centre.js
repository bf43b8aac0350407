// Goes with the download centre: loads htmx where the site does not, and keeps
// the class "in-progress" on #async-downloads true. Everything else is htmx.
(() => {
  if (window.asyncDownloadsCentre) return;
  window.asyncDownloadsCentre = true;

  const script = document.currentScript;
  const sources = [script.dataset.htmx];
  if (script.dataset.htmxWs) sources.push(script.dataset.htmxWs);

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

  const showProgress = () => {
    const centre = document.getElementById("async-downloads");
    centre?.classList.toggle("in-progress", centre.querySelector("[data-in-progress]") !== null);
  };

  const start = async () => {
    if (!window.htmx) {
      configure();
      await load(sources[0]);
    }
    const centre = document.getElementById("async-downloads");
    if (sources[1] && centre?.dataset.wsConnect) {
      if (!window.htmx.createWebSocket) await load(sources[1]);
      // htmx looks at an element again only if its attributes have changed since, so they
      // are set here, once the extension that understands them is there.
      centre.setAttribute("hx-ext", "ws");
      centre.setAttribute("ws-connect", centre.dataset.wsConnect);
      window.htmx.process(centre);
    }
    document.dispatchEvent(new Event("async-downloads:ready"));
  };

  document.addEventListener("htmx:afterSettle", showProgress);
  document.addEventListener("htmx:oobAfterSwap", showProgress);
  // By now any htmx of the site's own is there; and an htmx that is loaded between
  // "interactive" and "complete" would wait for an event that is already past.
  if (document.readyState === "complete") start();
  else window.addEventListener("load", start);
})();
