// Records what goes wrong in a page, and its sockets. It is the first script of the page, as not
// every driver of a browser can add one before.
window.recorded = { errors: [], violations: [], connected: 0, pending: 0 };
performance.setResourceTimingBufferSize(10000);
addEventListener("error", (event) => recorded.errors.push(event.message || event.target.outerHTML), true);
addEventListener("unhandledrejection", (event) => recorded.errors.push(String(event.reason)));
addEventListener("securitypolicyviolation", (event) =>
  recorded.violations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`),
);
for (const kind of ["error", "warn"]) {
  const print = console[kind];
  console[kind] = (...parts) => {
    recorded.errors.push(parts.map(String).join(" "));
    print.apply(console, parts);
  };
}
const { fetch } = window;
window.fetch = (...parameters) => {
  recorded.pending += 1;
  return fetch(...parameters).finally(() => (recorded.pending -= 1));
};
const { send } = XMLHttpRequest.prototype;
XMLHttpRequest.prototype.send = function (...parameters) {
  recorded.pending += 1;
  this.addEventListener("loadend", () => (recorded.pending -= 1));
  send.apply(this, parameters);
};
window.WebSocket = class extends WebSocket {
  constructor(...parameters) {
    super(...parameters);
    this.addEventListener("open", () => (recorded.connected += 1));
  }
};
