// A table of lines with SKUs: see products/admin/lines.py.
//
// Enter moves to the next field and never submits. A browser without scripts does not submit on
// Enter either, because the first submit button of the form is disabled.

const DEBOUNCE_MS = 150;
const LOOKED_UP_AT_ONCE = 100;

// ------------------------------------------------------------------------------------------ lines

function inputsOf(line) {
  return [...line.querySelectorAll("input:not([type=hidden])")];
}

function skuOf(line) {
  return line?.querySelector("[data-sku]");
}

function goTo(input) {
  input?.focus();
  input?.select();
}

function addLine(table) {
  const total = table.querySelector("[name$=-TOTAL_FORMS]");
  const body = table.querySelector("tbody");
  if (body.children.length >= Number(table.dataset.maxLines)) {
    say(table, `A page has at most ${table.dataset.maxLines} lines.`);
    return null;
  }
  const template = table.querySelector("template").innerHTML;
  body.insertAdjacentHTML("beforeend", template.replaceAll("__prefix__", total.value));
  total.value = Number(total.value) + 1;
  return body.lastElementChild;
}

function removeLine(table, line) {
  const neighbour = line.nextElementSibling ?? line.previousElementSibling;
  line.remove();
  // The server ignores the number that is missing now.
  goTo(skuOf(neighbour ?? addLine(table)));
}

// Return the field after this one. After the last field, it is in a new line.
function next(table, input) {
  const inputs = [...table.querySelectorAll("tbody [data-line]")].flatMap(inputsOf);
  return inputs[inputs.indexOf(input) + 1] ?? skuOf(addLine(table));
}

// Spread cells of a spreadsheet over the lines, from this field on.
function paste(table, event) {
  const text = event.clipboardData.getData("text").replace(/\r\n?/g, "\n").replace(/\n+$/, "");
  if (!/[\t\n]/.test(text)) return;
  event.preventDefault();
  let line = event.target.closest("[data-line]");
  const first = inputsOf(line).indexOf(event.target);
  const changed = [];
  for (const row of text.split("\n").filter((cells) => cells.trim())) {
    line ??= addLine(table);
    if (!line) break;
    row.split("\t").forEach((cell, index) => {
      const input = inputsOf(line)[first + index];
      if (!input) return;
      input.value = cell.trim();
      if (input.matches("[data-sku]")) changed.push(input);
      else input.dispatchEvent(new Event("change", { bubbles: true }));
    });
    line = line.nextElementSibling;
  }
  lookUp(table, changed);
}

// --------------------------------------------------------------------------------------- products

async function ask(table, parameters, signal) {
  const response = await fetch(`${table.dataset.completeUrl}?${parameters}`, { signal });
  return response.ok ? (await response.json()).results : [];
}

// Show the names of the products whose SKUs were entered.
async function lookUp(table, inputs) {
  const asked = inputs.map((input) => [input, input.value.trim().toUpperCase()]);
  for (const [input, sku] of asked) if (!sku) describe(input, null);
  const named = asked.filter(([, sku]) => sku);
  for (let start = 0; start < named.length; start += LOOKED_UP_AT_ONCE) {
    const some = named.slice(start, start + LOOKED_UP_AT_ONCE);
    let found;
    try {
      found = await ask(table, new URLSearchParams(some.map(([, sku]) => ["sku", sku])));
    } catch {
      return; // The server checks all lines again.
    }
    const bySku = new Map(found.map((product) => [product.sku.toUpperCase(), product]));
    for (const [input, sku] of some) {
      // The user may have typed on meanwhile.
      if (input.value.trim().toUpperCase() === sku) describe(input, bySku.get(sku) ?? { unknown: true });
    }
  }
}

function describe(input, product) {
  const line = input.closest("[data-line]");
  const name = line?.querySelector("[data-name]");
  if (!name) return;
  line.querySelector("[data-sku-errors]")?.replaceChildren();
  input.removeAttribute("aria-invalid");
  if (product?.sku) input.value = product.sku;
  name.textContent = product ? (product.unknown ? "No product has this SKU." : nameOf(product)) : "";
  name.toggleAttribute("data-unknown", Boolean(product?.unknown));
}

function nameOf(product) {
  const state = product.archived ? "archived" : `${product.available.toLocaleString("en")} available`;
  return `${product.name} (${state})`;
}

function say(table, text) {
  table.querySelector("[data-lines-status]").textContent = text;
}

// ------------------------------------------------------------------------------------- completion

// A list box below the field, as in the combobox pattern of the ARIA Authoring Practices.
// Nothing is chosen until the user moves into the list: a scanner sends its SKU and Enter at once.
class Suggestions {
  constructor(table) {
    this.table = table;
    this.list = document.createElement("ul");
    this.list.id = "sku-suggestions";
    this.list.setAttribute("role", "listbox");
    this.list.setAttribute("aria-label", "Products");
    this.list.hidden = true;
    this.list.addEventListener("mousedown", (event) => event.preventDefault()); // Keeps the focus.
    this.list.addEventListener("click", ({ target }) => this.choose(target.closest("[role=option]")));
    this.input = null;
  }

  ask(input) {
    this.close();
    const text = input.value.trim();
    if (!text) return;
    this.timer = setTimeout(async () => {
      this.request = new AbortController();
      try {
        const found = await ask(this.table, new URLSearchParams({ q: text }), this.request.signal);
        if (document.activeElement === input && input.value.trim() === text) this.open(input, found);
      } catch {
        // Without suggestions, the SKU can still be typed.
      }
    }, DEBOUNCE_MS);
  }

  open(input, products) {
    this.input = input;
    this.products = products;
    this.list.replaceChildren(...products.map(optionOf));
    input.closest("[data-sku-field]").append(this.list);
    this.list.hidden = !products.length;
    input.setAttribute("aria-expanded", String(products.length > 0));
    say(this.table, products.length ? `Suggestions: ${products.length}. Use the arrow keys.` : "No suggestions.");
  }

  close() {
    clearTimeout(this.timer);
    this.request?.abort();
    this.list.hidden = true;
    this.input?.setAttribute("aria-expanded", "false");
    this.input?.removeAttribute("aria-activedescendant");
    this.input = null;
  }

  // Return whether the key was for the list.
  handleKey(event) {
    if (this.list.hidden) return false;
    const active = this.list.querySelector("[aria-selected=true]");
    const options = [...this.list.children];
    switch (event.key) {
      case "ArrowDown":
        this.select(options[(options.indexOf(active) + 1) % options.length]);
        break;
      case "ArrowUp":
        this.select(options.at(active ? options.indexOf(active) - 1 : -1));
        break;
      case "Escape":
        this.close();
        break;
      case "Enter":
        if (!active) return false;
        this.choose(active);
        break;
      default:
        return false;
    }
    event.preventDefault();
    event.stopPropagation();
    return true;
  }

  select(option) {
    for (const other of this.list.children) other.setAttribute("aria-selected", String(other === option));
    this.input.setAttribute("aria-activedescendant", option.id);
    option.scrollIntoView({ block: "nearest" });
  }

  choose(option) {
    if (!option) return;
    const { input } = this;
    const product = this.products[[...this.list.children].indexOf(option)];
    this.close();
    input.value = product.sku;
    describe(input, product);
    goTo(next(this.table, input));
  }
}

function optionOf(product, index) {
  const option = document.createElement("li");
  option.id = `sku-suggestion-${index}`;
  option.setAttribute("role", "option");
  option.setAttribute("aria-selected", "false");
  const sku = document.createElement("strong");
  sku.textContent = product.sku;
  option.append(sku, ` ${nameOf(product)}`);
  return option;
}

// ------------------------------------------------------------------------------------------ start

for (const table of document.querySelectorAll("[data-lines]")) {
  const suggestions = new Suggestions(table);
  const form = table.closest("form");

  table.addEventListener("click", ({ target }) => {
    const removed = target.closest("[data-remove-line]");
    if (removed) removeLine(table, removed.closest("[data-line]"));
    if (target.closest("[data-add-line]")) goTo(skuOf(addLine(table)));
  });

  table.addEventListener("keydown", (event) => {
    if (event.target.matches("[data-sku]") && suggestions.handleKey(event)) return;
    if (event.key !== "Enter" || !event.target.matches("input") || event.isComposing) return;
    event.preventDefault();
    goTo(next(table, event.target));
  });

  table.addEventListener("input", ({ target }) => {
    if (target.matches("[data-sku]")) suggestions.ask(target);
  });
  table.addEventListener("focusout", ({ target }) => {
    if (target.matches("[data-sku]")) suggestions.close();
  });
  table.addEventListener("change", ({ target }) => {
    if (target.matches("[data-sku]")) lookUp(table, [target]);
  });
  table.addEventListener("paste", (event) => {
    if (event.target.matches("[data-line] input")) paste(table, event);
  });

  const skus = [...table.querySelectorAll("[data-sku]")];
  lookUp(table, skus.filter((input) => input.value && !input.closest("td").innerText.trim()));
  goTo(table.querySelector("[aria-invalid=true]") ?? skus.find((input) => !input.value));

  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
}

// The browser may show the page again as it was left.
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});
