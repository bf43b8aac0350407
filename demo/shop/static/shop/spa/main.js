import { Watcher, send } from "./downloads.js";
import { showList } from "./list.js";

const page = document.querySelector("main");
const find = (name) => page.querySelector(`[data-part="${name}"]`);
const { exportsUrl, listUrl, csrfToken } = page.dataset;
const counts = { polls: 0, unchanged: 0 };

const watcher = new Watcher(listUrl, { show, fail });

function show(list) {
  counts.polls += 1;
  counts.unchanged += list ? 0 : 1;
  find("counts").textContent = `${counts.polls} requests, of which unchanged: ${counts.unchanged}`;
  find("lost").hidden = true;
  if (list) {
    showList(list, { element: find("list"), template: find("item"), act });
    find("none").hidden = list.total > 0;
    find("total").textContent = list.total;
    // Those of teams stay.
    const own = list.downloads.filter((download) => !download.team);
    const finished = own.some((download) => download.complete || download.failed);
    find("clear-finished").hidden = !finished;
    find("clear-finished").onclick = () => act(list.clear_finished_url);
  }
}

function fail(error) {
  find("lost").hidden = false;
  find("lost").querySelector("a").hidden = error.status !== 401;
  find("lost-text").textContent = error.status ? error.message : "The connection is lost.";
}

/** Post to a URL, show what the server refuses, and look at the list. */
async function act(url) {
  find("refusal").textContent = "";
  try {
    await send(url, { method: "POST", headers: { "X-CSRFToken": csrfToken } });
  } catch (error) {
    find("refusal").textContent = error.message;
  }
  await watcher.look();
  if (document.activeElement === document.body) {
    // The button has gone with its item.
    find("heading").focus();
  }
}

async function showExports() {
  const response = await send(exportsUrl);
  for (const { title, url } of await response.json()) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = title;
    button.addEventListener("click", () => act(url));
    find("exports").append(button);
  }
}

watcher.look();
showExports().catch(fail);
