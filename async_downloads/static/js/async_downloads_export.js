// The page before an export: moves and ticks columns without a request. Without this script, the
// same buttons submit the form. The order of the file is the order of the list items.
(() => {
  const form = document.getElementById("async-downloads-export");
  const list = form.querySelector("ol");
  const status = form.querySelector("[role=status]");

  const announce = (item) => {
    const items = [...list.children];
    status.textContent = status.dataset.text
      .replace("{column}", item.querySelector("label").textContent.trim())
      .replace("{place}", items.indexOf(item) + 1)
      .replace("{total}", items.length);
  };

  const tick = (checked) => {
    for (const box of list.querySelectorAll("[type=checkbox]")) box.checked = checked;
  };

  const move = (button, item) => {
    if (button.name === "_up") item.previousElementSibling?.before(item);
    else item.nextElementSibling?.after(item);
    // An element that moves loses the focus.
    button.focus();
    announce(item);
  };

  form.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!["_up", "_down", "_all", "_none"].includes(button?.name)) return;
    event.preventDefault();
    const item = button.closest("li");
    if (item) move(button, item);
    else tick(button.name === "_all");
  });

  let dragged = null;
  for (const item of list.children) item.draggable = true;

  list.addEventListener("dragstart", (event) => {
    dragged = event.target.closest?.("li");
    dragged?.classList.add("is-dragged");
    // Firefox drags nothing without data.
    event.dataTransfer.setData("text/plain", "");
    event.dataTransfer.effectAllowed = "move";
  });

  list.addEventListener("dragover", (event) => {
    if (!dragged) return;
    event.preventDefault();
    const item = event.target.closest("li");
    if (!item || item === dragged) return;
    const box = item.getBoundingClientRect();
    if (event.clientY < box.top + box.height / 2) item.before(dragged);
    else item.after(dragged);
  });

  list.addEventListener("drop", (event) => event.preventDefault());

  list.addEventListener("dragend", () => {
    dragged?.classList.remove("is-dragged");
    if (dragged) announce(dragged);
    dragged = null;
  });
})();
