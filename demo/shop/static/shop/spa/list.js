/** Show a list of downloads in an element, and keep the items that are there already. */
export function showList(list, { element, template, act }) {
  const items = new Map([...element.children].map((item) => [item.dataset.key, item]));
  const keys = new Set(list.downloads.map((download) => download.download_key));
  for (const [key, item] of items) {
    if (!keys.has(key)) {
      item.remove();
    }
  }
  list.downloads.forEach((download, index) => {
    const item = items.get(download.download_key) ?? make(download, template, act);
    update(item, download);
    if (element.children[index] !== item) {
      element.insertBefore(item, element.children[index] ?? null);
    }
  });
}

function make(download, template, act) {
  const item = template.content.firstElementChild.cloneNode(true);
  item.dataset.key = download.download_key;
  part(item, "name").textContent = download.name;
  part(item, "retry").addEventListener("click", () => act(item.download.retry_url));
  part(item, "clear").addEventListener("click", () => act(item.download.clear_url));
  part(item, "bar").setAttribute("aria-label", download.name);
  return item;
}

function update(item, download) {
  item.download = download;
  item.dataset.state = download.stalled ? "stalled" : download.state;
  const name = part(item, "name");
  if (download.url) {
    name.href = download.url;
  } else {
    name.removeAttribute("href");
  }
  put(part(item, "status"), statusOf(download));
  put(part(item, "error"), download.error_text);
  const bar = part(item, "bar");
  bar.hidden = download.complete || download.failed;
  bar.value = download.percentage;
  const retry = part(item, "retry");
  retry.hidden = !download.can_retry;
  put(retry, download.complete ? "Make again" : "Try again");
  retry.setAttribute("aria-label", `${retry.textContent}: ${download.name}`);
  const clear = part(item, "clear");
  clear.hidden = !download.can_clear;
  put(clear, download.complete || download.failed ? "Clear" : "Cancel");
  clear.setAttribute("aria-label", `${clear.textContent}: ${download.name}`);
}

function statusOf(download) {
  const requested = new Date(download.timestamp).toLocaleTimeString([], { timeStyle: "short" });
  const percentage = download.in_progress && download.percentage ? `${download.percentage} %` : "";
  const size = download.size === null ? "" : `${Math.ceil(download.size / 1000)} kB`;
  const parts = [requested, download.status_text, download.ahead_text, percentage];
  return [...parts, download.time_left, size].filter(Boolean).join(" · ");
}

function part(item, name) {
  return item.querySelector(`[data-part="${name}"]`);
}

/** Set a text, unless it is there: screen readers would read it again. */
function put(element, text) {
  if (element.textContent !== text) {
    element.textContent = text;
  }
}
