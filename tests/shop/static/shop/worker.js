// Answers with the first copy of each page, however old it is.
addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
const answer = async (request) => {
  const pages = await caches.open("pages");
  const kept = await pages.match(request);
  if (kept) return kept;
  const response = await fetch(request);
  await pages.put(request, response.clone());
  return response;
};
addEventListener("fetch", (event) => {
  if (event.request.mode === "navigate") event.respondWith(answer(event.request));
});
