// Suggests products while a SKU is typed: a list box below each field `.entry-sku`, as in the
// combobox pattern of the ARIA Authoring Practices. When the user chooses a product, the field gets
// its SKU and sends `entry:chosen`. See products/admin/completion.py.
//
// Nothing is chosen until the user moves into the list: a scanner sends its SKU and Enter at once.

const DEBOUNCE_MS = 150;
const body = document.querySelector("#entry .entry-grid tbody");
const list = document.createElement("ul");
const spoken = document.createElement("p");
let input = null; // The field whose list is open.
let timer = null;
let request = null;

list.id = "entry-suggestions";
list.hidden = true;
list.setAttribute("role", "listbox");
list.setAttribute("aria-label", "Products");
spoken.className = "entry-spoken";
spoken.setAttribute("aria-live", "polite");
body.closest(".entry-grid").append(spoken);

function suggestSoon(field) {
  close();
  const typed = field.value.trim();
  if (!typed) return;
  timer = setTimeout(async () => {
    request = new AbortController();
    try {
      const url = `${field.dataset.complete}?${new URLSearchParams({ q: typed })}`;
      const response = await fetch(url, { signal: request.signal });
      const { results } = await response.json();
      // A scanner has gone on to the next field.
      if (document.activeElement === field && field.value.trim() === typed) open(field, results);
    } catch {
      // Without suggestions, the SKU can still be typed.
    }
  }, DEBOUNCE_MS);
}

function open(field, products) {
  spoken.textContent = products.length
    ? `Suggestions: ${products.length}. Use the arrow keys.`
    : "No suggestions.";
  if (!products.length) return;
  input = field;
  list.replaceChildren(...products.map(optionOf));
  field.after(list);
  list.hidden = false;
  field.setAttribute("aria-expanded", "true");
  field.setAttribute("aria-controls", list.id);
}

function optionOf({ sku, name, available }, index) {
  const option = document.createElement("li");
  option.id = `entry-suggestion-${index}`;
  option.dataset.sku = sku;
  option.setAttribute("role", "option");
  option.setAttribute("aria-selected", "false");
  const shown = document.createElement("strong");
  shown.textContent = sku;
  option.append(shown, ` ${name} (${available.toLocaleString("en")} available)`);
  return option;
}

function close() {
  clearTimeout(timer);
  request?.abort();
  list.hidden = true;
  list.replaceChildren();
  input?.setAttribute("aria-expanded", "false");
  input?.removeAttribute("aria-controls");
  input?.removeAttribute("aria-activedescendant");
  input = null;
}

function mark(option) {
  for (const other of list.children) other.setAttribute("aria-selected", String(other === option));
  input.setAttribute("aria-activedescendant", option.id);
  option.scrollIntoView({ block: "nearest" });
}

function choose(option) {
  const field = input;
  field.value = option.dataset.sku;
  close();
  field.dispatchEvent(new Event("entry:chosen", { bubbles: true }));
}

// Return whether the key was for the list.
function handleKey(key) {
  const options = [...list.children];
  const marked = options.findIndex((option) => option.getAttribute("aria-selected") === "true");
  if (key === "ArrowDown") mark(options[(marked + 1) % options.length]);
  else if (key === "ArrowUp") mark(options.at(marked > 0 ? marked - 1 : -1));
  else if (key === "Escape") close();
  else if (key === "Enter" && marked >= 0) choose(options[marked]);
  else return false;
  return true;
}

// Before entry.js handles the key.
body.addEventListener(
  "keydown",
  (event) => {
    if (!event.target.matches(".entry-sku")) return;
    if (!list.hidden && handleKey(event.key)) {
      event.preventDefault();
      event.stopPropagation();
    } else if (event.key === "Enter") {
      close();
    }
  },
  true,
);
body.addEventListener("focusout", close);
body.addEventListener("input", ({ target }) => {
  if (target.matches(".entry-sku")) suggestSoon(target);
});
list.addEventListener("mousedown", (event) => event.preventDefault()); // Keeps the focus.
list.addEventListener("click", ({ target }) => {
  const option = target.closest("[role=option]");
  if (option) choose(option);
});
