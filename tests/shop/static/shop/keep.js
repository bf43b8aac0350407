// A site whose pages a service worker keeps.
navigator.serviceWorker.register("worker.js");
