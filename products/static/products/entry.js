// The table of the pages on which lines are typed, scanned or pasted: Receive, Count and New
// reservation. See products/admin/entry.
//
// The field `lines` holds the lines as text. It is what the page sends, and what a browser without
// JavaScript shows. This script shows the text as a table and writes each change back. The server
// reads pasted text and checks each line, so the page needs no rules of its own.
//
// - entry_completion.js suggests SKUs. It sends `entry:chosen` when the user chooses one.
// - entry_draft.js keeps the text in the browser (Receive and Count). This script sends it
//   `entry:changed`, and shows the text again on `entry:open`.

const form = document.querySelector("#entry");
const text = form.elements.lines;
const grid = form.querySelector(".entry-grid");
const body = grid.querySelector("tbody");
const template = form.querySelector("#entry-row");
const status = grid.querySelector(".entry-status");
const scanMode = grid.querySelector("[name=scan]");
const { column, label, check: checkUrl, maxLines } = grid.dataset;
const isCount = column === "quantity";

function say(words) {
  status.textContent = words;
}

function plural(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

// -------------------------------------------------------------------------------------------- rows

const rows = () => [...body.rows];
const skuOf = (row) => row.querySelector(".entry-sku");
const amountOf = (row) => row.querySelector(".entry-amount");
const isBlank = (row) => !skuOf(row).value.trim() && !amountOf(row).value.trim();

function addRow({ sku = "", amount = "", expected = "" } = {}, before = null) {
  const row = template.content.firstElementChild.cloneNode(true);
  body.insertBefore(row, before);
  skuOf(row).value = sku;
  amountOf(row).value = amount;
  row.dataset.expected = expected;
  return row;
}

function deleteRow(row) {
  const next = row.nextElementSibling ?? row.previousElementSibling;
  row.remove();
  update();
  select(skuOf(next?.isConnected ? next : body.lastElementChild));
}

function select(field) {
  field.focus();
  field.select();
}

// Number the lines, keep one empty line at the end, show the sum, and write the text.
function update() {
  keepOneEmptyRow();
  rows().forEach(number);
  const filled = rows().filter((row) => !isBlank(row));
  if (filled.length > maxLines) say(`A page has at most ${Number(maxLines).toLocaleString("en")} lines. Divide them.`);
  showSum(filled);
  text.value = filled.length ? textOf(rows().slice(0, rows().indexOf(filled.at(-1)) + 1)) : "";
  form.dispatchEvent(new Event("entry:changed"));
}

function keepOneEmptyRow() {
  if (!body.rows.length || !isBlank(body.lastElementChild)) addRow();
  const last = body.lastElementChild;
  const before = last.previousElementSibling;
  if (before && isBlank(before)) (last.contains(document.activeElement) ? before : last).remove();
}

function number(row, index) {
  const line = String(index + 1);
  if (row.dataset.number === line) return;
  row.dataset.number = line;
  row.querySelector(".entry-number").textContent = line;
  row.querySelector(".entry-about").id = `entry-about-${line}`;
  skuOf(row).setAttribute("aria-label", `SKU, line ${line}`);
  amountOf(row).setAttribute("aria-label", `${label}, line ${line}`);
  for (const field of [skuOf(row), amountOf(row)]) field.setAttribute("aria-describedby", `entry-about-${line}`);
  row.querySelector(".entry-delete").setAttribute("aria-label", `Delete line ${line}`);
}

function showSum(filled) {
  const amounts = filled.map((row) => amountOf(row).value.trim()).filter((amount) => /^[0-9]{1,10}$/.test(amount));
  const units = amounts.reduce((sum, amount) => sum + Number(amount), 0);
  const sum = isCount ? `${amounts.length.toLocaleString("en")} counted` : plural(units, "unit");
  form.querySelector(".entry-sum").textContent = `${plural(filled.length, "line")}, ${sum}`;
}

function textOf(some) {
  // The server strips outer blanks. Tabs, line breaks and quotation marks would shift cells.
  const cell = (value) => value.replace(/[\t\r\n"]/g, " ");
  const line = (row) => [skuOf(row).value, amountOf(row).value, row.dataset.expected].map(cell).join("\t");
  return [["sku", column, "expected_quantity"].join("\t"), ...some.map(line)].join("\n");
}

// ------------------------------------------------------------------------------------------ checks

// Let the server read lines. Return null, and say why, if it cannot.
async function read(lines) {
  const sent = new FormData();
  sent.set("csrfmiddlewaretoken", form.elements.csrfmiddlewaretoken.value);
  sent.set("lines", lines);
  try {
    const response = await fetch(checkUrl, { method: "POST", body: sent });
    if (response.redirected) {
      say("You are logged out. Log in again in another tab. Your lines are kept.");
      return null;
    }
    const known = await response.json();
    if (!known.lines || known.error) {
      say(known.error ?? known.detail ?? "The lines could not be checked.");
      return null;
    }
    return known.lines;
  } catch {
    say("The lines could not be checked. They are checked again when you send them.");
    return null;
  }
}

async function check(some) {
  const checked = some.filter((row) => !isBlank(row));
  for (const row of some) if (!checked.includes(row)) show(row, null);
  if (!checked.length) return;
  const asked = checked.map((row) => (row.dataset.asked = textOf([row])));
  const lines = await read(textOf(checked));
  if (!lines) return;
  checked.forEach((row, index) => {
    // The user may have typed on.
    if (row.isConnected && row.dataset.asked === asked[index]) show(row, lines[index]);
  });
  update();
}

// Show what the server knows about a line.
function show(row, line) {
  const about = row.querySelector(".entry-about");
  about.replaceChildren();
  skuOf(row).setAttribute("aria-invalid", line?.wrong === "sku");
  amountOf(row).setAttribute("aria-invalid", line?.wrong === "amount");
  if (!line) return;
  if (line.product) {
    skuOf(row).value = line.sku;
    if (isCount && !row.dataset.expected) row.dataset.expected = line.product.quantity;
    about.append(nameOf(line.product));
  }
  for (const problem of line.problems) about.append(note("entry-problem", problem));
  if (line.create) about.append(linkTo(line.create, `Create ${line.sku}`));
  for (const warning of [line.moved, line.warning]) if (warning) about.append(note("entry-warning", warning));
}

function nameOf(product) {
  const name = note("entry-product", "");
  name.append(linkTo(product.url, product.name), ` (${levelsOf(product)})`);
  return name;
}

function levelsOf({ quantity, reserved, archived }) {
  const shown = (units) => units.toLocaleString("en");
  const levels = [];
  if ("showsAvailable" in grid.dataset) levels.push(`${shown(quantity - reserved)} available`);
  else levels.push(`On hand ${shown(quantity)}`, ...(reserved ? [`reserved ${shown(reserved)}`] : []));
  return [...levels, ...(archived ? ["archived"] : [])].join(", ");
}

function note(name, words) {
  const all = document.createElement("div");
  all.className = name;
  all.textContent = words;
  return all;
}

function linkTo(url, words) {
  const link = document.createElement("a");
  link.href = url;
  link.target = "_blank";
  link.tabIndex = -1; // Tab moves from the SKU to the units.
  link.textContent = words;
  return link;
}

// -------------------------------------------------------------------------------- typing, scanning

const same = (one, other) => one.trim().toUpperCase() === other.trim().toUpperCase();

function enterSku(row) {
  update();
  const sku = skuOf(row).value.trim();
  if (!sku) return;
  const twin = rows().find((other) => other !== row && same(skuOf(other).value, sku));
  if (twin) {
    skuOf(row).value = "";
    if (isBlank(row)) show(row, null);
    update();
  }
  if (scanMode.checked) {
    addOne(twin ?? row);
    select(skuOf(twin ? row : body.lastElementChild));
  } else if (twin) {
    say(`${sku} is already on line ${twin.dataset.number}.`);
    select(amountOf(twin));
  } else {
    say("");
    check([row]);
    select(amountOf(row));
  }
}

// The level that the user saw was that of another product.
function forgetExpected(row) {
  row.dataset.expected = "";
}

function addOne(row) {
  const units = amountOf(row).value.trim();
  if (!/^[0-9]{0,9}$/.test(units)) {
    say(`Line ${row.dataset.number} has no number of units. Correct it first.`);
    return;
  }
  amountOf(row).value = Number(units) + 1;
  say(`${skuOf(row).value}: ${amountOf(row).value}`);
  check([row]);
  update();
}

function enterAmount(row) {
  update();
  const next = row.nextElementSibling;
  check([row]);
  // In a list of products to count, the next line already has its SKU.
  select(skuOf(next).value.trim() ? amountOf(next) : skuOf(next));
}

function moveBetweenAmounts(event, row) {
  const other = event.key === "ArrowDown" ? row.nextElementSibling : row.previousElementSibling;
  if (!other) return;
  event.preventDefault();
  select(amountOf(other));
}

body.addEventListener("keydown", (event) => {
  const row = event.target.closest("tr");
  const isSku = event.target.matches(".entry-sku");
  const isAmount = event.target.matches(".entry-amount");
  if (event.key === "Enter" && (isSku || isAmount) && !event.ctrlKey && !event.metaKey && !event.isComposing) {
    event.preventDefault();
    if (isSku) enterSku(row);
    else enterAmount(row);
  } else if (isAmount && ["ArrowDown", "ArrowUp"].includes(event.key)) {
    moveBetweenAmounts(event, row);
  }
});
body.addEventListener("input", (event) => {
  if (event.target.matches(".entry-sku")) forgetExpected(event.target.closest("tr"));
  update();
});
body.addEventListener("entry:chosen", (event) => {
  forgetExpected(event.target.closest("tr"));
  enterSku(event.target.closest("tr"));
});
body.addEventListener("change", (event) => check([event.target.closest("tr")]));
body.addEventListener("click", (event) => {
  if (event.target.closest(".entry-delete")) deleteRow(event.target.closest("tr"));
});

// Enter never sends the form: a scanner may press it in any field. Ctrl-Enter does.
form.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.target.matches("button, a, textarea")) return;
  event.preventDefault();
  if (event.ctrlKey || event.metaKey) form.requestSubmit();
});

// ------------------------------------------------------------------------------------------- paste

body.addEventListener("paste", (event) => {
  const pasted = event.clipboardData.getData("text").replace(/\r\n?/g, "\n");
  if (!/[\t\n]/.test(pasted.trim())) return;
  event.preventDefault();
  const row = event.target.closest("tr");
  if (event.target.matches(".entry-amount") && !pasted.includes("\t")) pasteAmounts(row, pasted);
  else pasteLines(row, pasted);
});

// Insert lines. The server reads them, so a line with the names of the columns is understood.
async function pasteLines(row, pasted) {
  const lines = await read(pasted);
  if (!lines) return;
  const before = isBlank(row) ? row : row.nextElementSibling;
  const added = lines.map((line) => {
    const next = addRow(line, before);
    show(next, line);
    return next;
  });
  say(`${plural(added.length, "line")} pasted.`);
  update();
  const empty = added.find((each) => !amountOf(each).value);
  select(empty ? amountOf(empty) : skuOf(body.lastElementChild));
}

// Fill in a column of amounts, from this line on.
function pasteAmounts(row, pasted) {
  const changed = [];
  for (const amount of pasted.replace(/\n$/, "").split("\n")) {
    row ??= addRow();
    amountOf(row).value = amount.trim();
    changed.push(row);
    row = row.nextElementSibling;
  }
  update();
  check(changed);
  select(amountOf(changed.at(-1)));
}

// ------------------------------------------------------------------------------------------- start

async function open() {
  const lines = text.value.trim() ? await read(text.value) : [];
  // Otherwise the text stays, and can be corrected.
  if (!lines) return;
  form.querySelector(".entry-text").hidden = true;
  form.querySelector(".entry-text .entry-problem")?.remove();
  grid.hidden = false;
  body.replaceChildren();
  for (const line of lines) show(addRow(line), line);
  update();
  const wrong = "returned" in form.dataset && body.querySelector("[aria-invalid=true]");
  const empty = rows().find((row) => !amountOf(row).value.trim());
  select(wrong || (skuOf(empty).value ? amountOf(empty) : skuOf(empty)));
}

form.addEventListener("entry:open", open);
open();
