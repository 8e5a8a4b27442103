// Keeps the lines of Receive and Count in the browser until they are saved. A reload, a lost
// connection or a logout then loses nothing. See entry.js.

const form = document.querySelector("#entry");
const text = form.elements.lines;
const discard = form.querySelector(".entry-discard");
const { key, page } = form.dataset;
const KEPT_DAYS = 7;

// The name of the draft. It depends on the user, and on the products of a list to count.
let slot = key + form.elements.start.value;
let timer = null;

function sharedFields() {
  return [...form.querySelectorAll(".entry-shared :is(input, select)")];
}

function save() {
  clearTimeout(timer);
  const shared = Object.fromEntries(sharedFields().map((field) => [field.name, field.value]));
  const draft = { lines: text.value, shared, draft: form.elements.draft.value, at: Date.now() };
  try {
    if (text.value.trim()) localStorage.setItem(slot, JSON.stringify(draft));
    else localStorage.removeItem(slot);
  } catch {
    // The browser keeps no drafts.
  }
}

// Return the drafts of the user on this page by their names, and delete old ones.
function drafts() {
  const found = new Map();
  try {
    for (const name of Object.keys(localStorage).filter((name) => name.startsWith(key))) {
      const draft = JSON.parse(localStorage.getItem(name));
      if (Date.now() - draft.at < KEPT_DAYS * 24 * 60 * 60 * 1000) found.set(name, draft);
      else localStorage.removeItem(name);
    }
  } catch {
    // The browser keeps no drafts.
  }
  return found;
}

// After the lines were saved, the address has the id of their draft.
function forgetDone() {
  const address = new URL(window.location.href);
  const done = address.searchParams.get("done");
  if (!done) return;
  for (const [name, { draft }] of drafts()) if (draft === done) localStorage.removeItem(name);
  address.searchParams.delete("done");
  history.replaceState(null, "", address);
}

function restore({ lines, shared, draft, at }) {
  text.value = lines;
  form.elements.draft.value = draft;
  for (const field of sharedFields()) if (field.name in shared) field.value = shared[field.name];
  form.querySelector(".entry-draft").hidden = false;
  form.querySelector(".entry-restored").textContent =
    `Your lines of ${new Date(at).toLocaleString()} are here again.`;
}

// Offer a count of other products that was not finished.
function offerOther() {
  const [name, draft] = [...drafts()].sort(([, one], [, two]) => two.at - one.at)[0] ?? [];
  if (!draft || name === slot) return;
  const box = form.querySelector(".entry-other");
  const lines = draft.lines.split("\n").length - 1;
  box.querySelector(".entry-other-text").textContent =
    `You have not finished your lines of ${new Date(draft.at).toLocaleString()} (${lines.toLocaleString("en")}).`;
  box.querySelector(".entry-continue").onclick = () => {
    box.hidden = true;
    form.elements.start.value = name.slice(key.length);
    slot = name;
    restore(draft);
    form.dispatchEvent(new Event("entry:open"));
  };
  box.hidden = false;
}

form.addEventListener("entry:changed", () => {
  discard.hidden = !text.value;
  clearTimeout(timer);
  timer = setTimeout(save, 200);
});
form.addEventListener("change", save);
form.addEventListener("submit", save);
window.addEventListener("pagehide", save);
discard.addEventListener("click", () => {
  if (!window.confirm("Discard all lines?")) return;
  text.value = "";
  save();
  window.location.assign(page);
});

forgetDone();
const kept = drafts().get(slot);
if (kept && !("returned" in form.dataset)) restore(kept);
else if (!text.value.trim()) offerOther();
