// The keyboard in Unfold's pages: open layers, elements that only react to clicks, and icons.

// ---------------------------------------------------------------------------------- open layers

const openLayers = [];
const FOCUSABLE = "a[href], button, input:not([type=hidden]), select, textarea, [tabindex='0']";

// Keep the focus in a layer while it is open. Give it back to the element that opened the layer.
// The templates call this when the state of a layer changes.
function focusLayer(id, isOpen) {
  const layer = document.getElementById(id);
  const index = openLayers.findIndex((open) => open.layer === layer);
  if (!layer || isOpen === index >= 0) return;
  if (isOpen) {
    const others = elementsBesides(layer).filter((other) => !other.inert);
    openLayers.push({ layer, others, opener: document.activeElement });
    others.forEach((other) => (other.inert = true));
    if (id !== "modal-content") focusFirst(layer); // dialogs.js chooses the field of a dialog.
  } else {
    const [{ others, opener }] = openLayers.splice(index, 1);
    others.forEach((other) => (other.inert = false));
    opener.focus();
  }
}

// Return all elements of the page that a layer does not contain. A calendar lies outside the page.
function elementsBesides(layer) {
  const page = document.getElementById("page");
  if (!page.contains(layer)) return [page];
  const others = [];
  for (let element = layer; element !== page; element = element.parentElement) {
    others.push(...[...element.parentElement.children].filter((other) => other !== element));
  }
  return others;
}

function focusMenu(id, isOpen) {
  if (isOpen) focusFirst(document.getElementById(id));
}

// Alpine shows a menu in the next frame.
function focusFirst(element) {
  const focus = () => {
    if (element.contains(document.activeElement)) return;
    [...element.querySelectorAll(FOCUSABLE)].find((each) => each.checkVisibility())?.focus();
  };
  requestAnimationFrame(() => requestAnimationFrame(focus));
}

// ------------------------------------------------------------------------- elements like buttons

const ICONS = ".material-symbols-outlined";
const CONTROLS = "a[href], button, input, label, select, summary, textarea, [role]";

// Unfold has links without an address, and texts, that react to clicks only.
function makeButton(element) {
  if (element.matches(CONTROLS) || !element.textContent.trim()) return;
  element.setAttribute("role", "button");
  element.setAttribute("tabindex", "0");
}

// Icons are words in a font of symbols. Screen readers must not read them. An icon that stands alone
// names its button or link, and the title of an element without a role becomes that of an image.
function hideIcon(icon) {
  const control = icon.closest("a, button, [role=button], [title]");
  const word = icon.textContent.trim();
  if (control?.textContent.trim() === word && !control.ariaLabel) {
    if (!control.matches("a, button, [role]")) control.setAttribute("role", "img");
    control.setAttribute("aria-label", control.title || word.replaceAll("_", " "));
  }
  if (icon !== control) icon.setAttribute("aria-hidden", "true");
}

// SimpleBar makes a landmark of each scroll area, and gives them all the same name.
function nameScrollArea(area) {
  if (area.querySelector("table")) {
    area.setAttribute("aria-label", "Table");
  } else {
    ["role", "aria-label", "tabindex"].forEach((name) => area.removeAttribute(name));
  }
}

function makeAccessible(root) {
  root.querySelectorAll("[x-on\\:click]").forEach(makeButton);
  root.querySelectorAll(ICONS).forEach(hideIcon);
  root.querySelectorAll(".help-tooltip[aria-label]").forEach((each) => each.setAttribute("role", "img"));
  root.querySelectorAll(".simplebar-content-wrapper").forEach(nameScrollArea);
}

document.addEventListener("DOMContentLoaded", () => {
  makeAccessible(document);
  document.getElementById("result_list")?.setAttribute("tabindex", "-1"); // A link skips to it.
  const filters = document.getElementById("changelist-filter");
  filters?.setAttribute("role", "dialog");
  filters?.setAttribute("aria-label", "Filters");
  new MutationObserver((records) => {
    const parents = new Set(records.filter((each) => each.addedNodes.length).map((each) => each.target));
    parents.forEach(makeAccessible);
  }).observe(document.body, { childList: true, subtree: true });
});

document.addEventListener("keydown", (event) => {
  if (!["Enter", " "].includes(event.key) || !event.target.matches("[role=button]:not(button)")) return;
  event.preventDefault();
  event.target.click();
});

// ------------------------------------------------------------------------------- header menus

function closeHeaderMenu(but) {
  const menu = document.querySelector(".header-menu details[open]");
  if (!menu || menu.contains(but)) return;
  if (menu.contains(document.activeElement)) menu.querySelector("summary").focus();
  menu.open = false;
}

addEventListener("click", (event) => closeHeaderMenu(event.target));
addEventListener("keydown", (event) => event.key === "Escape" && closeHeaderMenu(null));

// ------------------------------------------------------------------------------- find a product

// The search of the page itself comes first, then that of the sidebar.
const PRODUCT_SEARCHES = [
  ".model-product #searchbar",
  "main form[role=search]:not(#changelist-search) [name=q]",
  "#find-product [name=q]",
];
const TEXT_FIELDS = "input:not([type=checkbox], [type=radio]), select, textarea";

addEventListener(
  "keydown",
  (event) => {
    const withControl = event.ctrlKey || event.metaKey;
    const isSlash = event.key === "/" && !withControl && !event.target.matches?.(TEXT_FIELDS);
    if (!isSlash && !(event.key === "k" && withControl)) return;
    const field = PRODUCT_SEARCHES.map((each) => document.querySelector(each)).find(Boolean);
    if (!field || openLayers.some(({ layer }) => !layer.contains(field))) return;
    event.preventDefault();
    // Unfold would move the focus to the search of another list.
    event.stopImmediatePropagation();
    openSidebar(field);
    Alpine.nextTick(() => {
      field.focus();
      field.select();
    });
  },
  true,
);

// Open the sidebar if it hides the field.
function openSidebar(field) {
  if (field.checkVisibility()) return;
  const state = Alpine.$data(document.body);
  state[matchMedia("(min-width: 80rem)").matches ? "sidebarDesktopOpen" : "sidebarMobileOpen"] = true;
}
