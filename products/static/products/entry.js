// The pages on which lines are typed, scanned or pasted. The lines are sent as the text of the
// field `lines`, which is also what a browser without JavaScript shows. The server reads pasted
// text, so it is read as in the preview.

(() => {
  const form = document.querySelector("#entry");
  const text = form.querySelector("[name=lines]");
  const body = form.querySelector("tbody");
  const template = form.querySelector("#entry-row");
  const status = form.querySelector(".entry-status");
  const scanMode = form.querySelector("[name=scan]");
  const discard = form.querySelector(".entry-discard");
  const { column, label, key, page } = form.dataset;
  const columns = ["sku", column, "expected_quantity"];
  let slot = key + form.elements.start.value;
  const KEPT_DAYS = 7;

  // ------------------------------------------------------------------------------------- rows

  const rows = () => [...body.rows];
  const skuOf = (row) => row.querySelector(".entry-sku");
  const amountOf = (row) => row.querySelector(".entry-amount");
  const isBlank = (row) => !skuOf(row).value.trim() && !amountOf(row).value.trim();

  function addRow(values = {}, before = null) {
    const row = template.content.firstElementChild.cloneNode(true);
    body.insertBefore(row, before);
    fill(row, values);
    return row;
  }

  function fill(row, { sku = "", amount = "", expected = "" }) {
    skuOf(row).value = sku;
    amountOf(row).value = amount;
    row.dataset.expected = expected;
  }

  function deleteRow(row) {
    const next = row.nextElementSibling ?? row.previousElementSibling;
    row.remove();
    if (!body.rows.length) addRow();
    update();
    skuOf(next ?? body.rows[0]).focus();
  }

  // Number the lines, keep one empty line at the end, and show the sum.
  function update() {
    if (!body.rows.length || !isBlank(body.lastElementChild)) addRow();
    const before = body.lastElementChild.previousElementSibling;
    if (before && isBlank(before))
      (body.lastElementChild.contains(document.activeElement) ? before : body.lastElementChild).remove();
    let lines = 0;
    let units = 0;
    let counted = 0;
    rows().forEach((row, index) => {
      const number = index + 1;
      if (row.dataset.number !== String(number)) {
        row.dataset.number = number;
        row.querySelector(".entry-number").textContent = number;
        row.querySelector(".entry-about").id = `entry-about-${number}`;
        skuOf(row).setAttribute("aria-label", `SKU, line ${number}`);
        amountOf(row).setAttribute("aria-label", `${label}, line ${number}`);
        for (const field of [skuOf(row), amountOf(row)])
          field.setAttribute("aria-describedby", `entry-about-${number}`);
        row.querySelector(".entry-delete").setAttribute("aria-label", `Delete line ${number}`);
      }
      if (!isBlank(row)) lines += 1;
      if (/^[0-9]{1,10}$/.test(amountOf(row).value.trim())) {
        units += Number(amountOf(row).value);
        counted += 1;
      }
    });
    const sum = column === "quantity" ? `${counted} counted` : `${units} ${units === 1 ? "unit" : "units"}`;
    form.querySelector(".entry-sum").textContent = `${lines} ${lines === 1 ? "line" : "lines"}, ${sum}`;
    discard.hidden = !lines;
    saveSoon();
  }

  // The server strips outer blanks. Tabs, line breaks and quotation marks would shift cells.
  const cell = (value) => value.replace(/[\t\r\n"]/g, " ");

  function textOf(some) {
    const line = (row) =>
      [skuOf(row).value, amountOf(row).value, row.dataset.expected ?? ""].map(cell).join("\t");
    return [columns.join("\t"), ...some.map(line)].join("\n");
  }

  function written() {
    if (form.querySelector(".entry-grid").hidden) return text.value;
    const all = rows();
    while (all.length && isBlank(all.at(-1))) all.pop();
    return all.length ? textOf(all) : "";
  }

  // ------------------------------------------------------------------------------------ checks

  // Let the server read lines. Returns null if it cannot be reached.
  async function read(lines) {
    const sent = new FormData();
    sent.set("csrfmiddlewaretoken", form.elements.csrfmiddlewaretoken.value);
    sent.set("lines", lines);
    try {
      const response = await fetch(form.dataset.check, { method: "POST", body: sent });
      if (response.redirected) {
        say("You are logged out. Log in again in another tab. Your lines are kept.");
        return null;
      }
      const known = await response.json();
      if (!known.lines) say(known.detail ?? "The lines could not be checked.");
      return known.lines ? known : null;
    } catch {
      say("The lines could not be checked. The preview checks them again.");
      return null;
    }
  }

  async function check(some) {
    const checked = some.filter((row) => skuOf(row).value.trim() || amountOf(row).value.trim());
    for (const row of some) if (!checked.includes(row)) show(row, null);
    if (!checked.length) return;
    const asked = checked.map((row) => (row.dataset.asked = textOf([row])));
    const known = await read(textOf(checked));
    if (!known || known.error) {
      if (known) say(known.error);
      return;
    }
    checked.forEach((row, index) => {
      // The user may have typed on.
      if (row.isConnected && row.dataset.asked === asked[index]) show(row, known.lines[index]);
    });
    update();
  }

  function show(row, line) {
    const about = row.querySelector(".entry-about");
    about.replaceChildren();
    skuOf(row).setAttribute("aria-invalid", line?.wrong === "sku");
    amountOf(row).setAttribute("aria-invalid", line?.wrong === "amount");
    if (!line) return;
    if (line.product) {
      skuOf(row).value = line.sku;
      if (column === "quantity" && !row.dataset.expected)
        row.dataset.expected = line.product.quantity;
      about.append(nameOf(line.product));
    }
    for (const problem of line.problems) about.append(note("entry-problem", problem));
    if (line.create) about.append(linkTo(line.create, `Create ${line.sku}`));
    if (line.moved) about.append(note("entry-warning", line.moved));
    if (line.warning) about.append(note("entry-warning", line.warning));
  }

  function nameOf(product) {
    const parts = [`On hand ${product.quantity}`];
    if (product.reserved) parts.push(`reserved ${product.reserved}`);
    if (product.archived) parts.push("archived");
    const all = document.createElement("div");
    all.append(linkTo(product.url, product.name), ` · ${parts.join(", ")}`);
    return all;
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

  function say(words) {
    status.textContent = words;
  }

  // --------------------------------------------------------------------------- typing, scanning

  const same = (one, two) => one.trim().toUpperCase() === two.trim().toUpperCase();
  const twinOf = (row) =>
    rows().find((other) => other !== row && same(skuOf(other).value, skuOf(row).value));

  function enterSku(row) {
    const sku = skuOf(row).value.trim();
    if (!sku) return;
    const twin = twinOf(row);
    if (twin) {
      skuOf(row).value = "";
      if (isBlank(row)) show(row, null);
      update();
      if (scanMode.checked) {
        addOne(twin);
        skuOf(row).focus();
      } else {
        say(`${sku} is already on line ${twin.dataset.number}.`);
        select(amountOf(twin));
      }
      return;
    }
    if (scanMode.checked) {
      addOne(row);
      update();
      select(skuOf(body.lastElementChild));
    } else {
      say("");
      check([row]);
      select(amountOf(row));
    }
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

  let suggesting = null;

  // Suggest products by any part of their SKU or by words of their name.
  function suggestSoon(field) {
    clearTimeout(suggesting);
    suggesting = setTimeout(async () => {
      const typed = field.value.trim();
      // A scanner has gone on to the next field.
      if (typed.length < 2 || document.activeElement !== field) return;
      try {
        const response = await fetch(`${form.dataset.complete}?${new URLSearchParams({ q: typed })}`);
        const { results } = await response.json();
        const options = results.map(({ sku, name }) => new Option(name, sku));
        form.querySelector("#entry-skus").replaceChildren(...options);
      } catch {
        // The SKU can still be typed.
      }
    }, 150);
  }

  function select(field) {
    field.focus();
    field.select();
  }

  body.addEventListener("keydown", (event) => {
    const row = event.target.closest("tr");
    const isSku = event.target.matches(".entry-sku");
    if (!isSku && !event.target.matches(".entry-amount")) return;
    if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      if (isSku) enterSku(row);
      else enterAmount(row);
    } else if (!isSku && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      const other = event.key === "ArrowDown" ? row.nextElementSibling : row.previousElementSibling;
      if (!other) return;
      event.preventDefault();
      select(amountOf(other));
    }
  });

  body.addEventListener("input", (event) => {
    const row = event.target.closest("tr");
    if (event.target.matches(".entry-sku")) {
      row.dataset.expected = "";
      suggestSoon(event.target);
    }
    update();
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

  body.addEventListener("paste", async (event) => {
    const pasted = event.clipboardData.getData("text");
    if (!/[\t\n]/.test(pasted.trim())) return;
    event.preventDefault();
    const row = event.target.closest("tr");
    const known = await read(pasted);
    if (!known) return;
    if (known.error) {
      say(known.error);
      return;
    }
    const before = isBlank(row) ? row : row.nextElementSibling;
    const added = known.lines.map((line) => {
      const next = addRow(line, before);
      show(next, line);
      return next;
    });
    update();
    say(`${added.length} ${added.length === 1 ? "line" : "lines"} pasted.`);
    const empty = added.find((each) => !amountOf(each).value);
    select(empty ? amountOf(empty) : skuOf(body.lastElementChild));
  });

  // -------------------------------------------------------------------------------------- draft

  let timer = null;

  function saveSoon() {
    clearTimeout(timer);
    timer = setTimeout(save, 200);
  }

  function save() {
    clearTimeout(timer);
    const lines = written();
    const shared = Object.fromEntries(sharedFields().map((field) => [field.name, field.value]));
    try {
      if (lines)
        localStorage.setItem(
          slot,
          JSON.stringify({ lines, shared, draft: form.elements.draft.value, at: Date.now() }),
        );
      else localStorage.removeItem(slot);
    } catch {
      // The browser keeps no drafts.
    }
  }

  function sharedFields() {
    return [...form.querySelectorAll(".entry-shared :is(input, select)")];
  }

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

  function forget(draft) {
    for (const [name, kept] of drafts()) if (kept.draft === draft) localStorage.removeItem(name);
  }

  function restore({ lines, shared, draft, at }) {
    text.value = lines;
    form.elements.draft.value = draft;
    for (const field of sharedFields()) if (field.name in shared) field.value = shared[field.name];
    const note = form.querySelector(".entry-draft");
    note.hidden = false;
    note.querySelector(".entry-restored").textContent =
      `Your lines of ${new Date(at).toLocaleString()} are here again.`;
  }

  // Offer a count of other products that was not finished.
  function offer() {
    const [name, draft] = [...drafts()].sort((one, two) => two[1].at - one[1].at)[0] ?? [];
    if (!draft || name === slot) return;
    const lines = draft.lines.split("\n").length - 1;
    const box = form.querySelector(".entry-other");
    box.querySelector(".entry-other-text").textContent =
      `You have not finished ${lines} ${lines === 1 ? "line" : "lines"} of ${new Date(draft.at).toLocaleString()}.`;
    box.querySelector(".entry-continue").onclick = async () => {
      box.hidden = true;
      form.elements.start.value = name.slice(key.length);
      slot = name;
      restore(draft);
      await open();
    };
    box.hidden = false;
  }

  discard.addEventListener("click", () => {
    if (!window.confirm("Discard all lines?")) return;
    body.replaceChildren();
    update();
    save();
    window.location.assign(page);
  });
  form.addEventListener("change", save);
  form.addEventListener("submit", () => {
    text.value = written();
    save();
  });
  window.addEventListener("pagehide", save);

  // -------------------------------------------------------------------------------------- start

  function showLines(lines) {
    body.replaceChildren();
    for (const line of lines) show(addRow(line), line);
    update();
  }

  async function start() {
    const address = new URL(window.location.href);
    const done = address.searchParams.get("done");
    if (done) {
      forget(done);
      address.searchParams.delete("done");
      history.replaceState(null, "", address);
    }
    const kept = drafts().get(slot);
    if (kept && !("sent" in form.dataset)) restore(kept);
    else if (!text.value.trim()) offer();
    await open();
  }

  async function open() {
    const known = text.value.trim() ? await read(text.value) : { lines: [] };
    // Otherwise the text stays, and can be corrected.
    if (!known || known.error) return;
    form.querySelector(".entry-text").hidden = true;
    form.querySelector(".entry-grid").hidden = false;
    showLines(known.lines);
    const empty = rows().find((row) => !amountOf(row).value.trim());
    select(skuOf(empty).value ? amountOf(empty) : skuOf(empty));
  }

  start();
})();
