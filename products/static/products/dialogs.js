// Additions to the dialogs of Unfold and htmx.

// Send a dialog once. After a double click, htmx would send the form again when the first response
// arrives. It would confirm a count before the user has read the warning.

document.addEventListener(
  "submit",
  (event) => {
    const form = event.target;
    if (!form.matches("#dialog form")) return;
    if (form.dataset.sent) {
      event.preventDefault();
      event.stopImmediatePropagation();
    }
    form.dataset.sent = "yes";
    // htmx processes a new form shortly after showing it. If the form is submitted before that, the
    // browser would post it to the page below the dialog.
    htmx.process(form);
  },
  true,
);

document.addEventListener("htmx:afterRequest", ({ detail }) => {
  // Allow a second attempt after an error. After a success the page reloads.
  if (!detail.xhr.getResponseHeader("HX-Redirect")) delete detail.elt.dataset.sent;
});

// Show errors that htmx ignores: unexpected responses and lost connections.

document.addEventListener("htmx:beforeRequest", () => {
  document.querySelector("#dialog [role=alert]")?.remove();
});

document.addEventListener("htmx:sendError", () => {
  showError("The server did not respond. Try again. The change will not be applied twice.");
});

document.addEventListener("htmx:responseError", ({ detail }) => {
  showError(problemDetail(detail.xhr) ?? `The request failed (status ${detail.xhr.status}).`);
});

document.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr, target, isError } = event.detail;
  if (isError || !target.closest("#modal-content")) return;
  if (xhr.responseText.includes('id="dialog"')) return;
  event.preventDefault();
  window.location.reload(); // The user was logged out. Show the login page.
});

function problemDetail(xhr) {
  try {
    return JSON.parse(xhr.responseText).detail;
  } catch {
    return null;
  }
}

function showError(text) {
  const alert = document.createElement("p");
  alert.setAttribute("role", "alert");
  alert.className = "mb-4 text-red-700 dark:text-red-400";
  alert.textContent = text;
  document.querySelector("#dialog-form")?.before(alert);
}

// Focus the first field when a dialog opens, and the first wrong field after an error. Without a field,
// focus the button. A hidden field takes no focus, and Alpine shows a new dialog in the next frame. The
// user may already be in a field then.
document.addEventListener("htmx:afterSettle", (event) => {
  if (!event.target.closest("#modal-content")) return;
  if (document.querySelector("#dialog")?.checkVisibility()) focusField();
  else requestAnimationFrame(() => document.querySelector("#dialog :focus") || focusField());
});

function focusField() {
  const fields = "#dialog :is(input:not([type=hidden]), select)";
  const field = document.querySelector(`${fields}[aria-invalid=true]`) ?? document.querySelector(fields);
  (field ?? document.querySelector("#dialog button[type=submit]:enabled"))?.focus();
  field?.select?.();
}

// Send a form with data-send-once only once. Going back to the page allows it again.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("form[data-send-once]")) return;
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = "yes";
});

window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-send-once]")) delete form.dataset.sent;
});

// Unfold hides the page until Alpine has started, and a hidden field takes no focus. This repeats what
// the browser does for `autofocus`, and what Django does for the first field of a form that adds a row.
const ADD_FORM = "form:has(#django-admin-form-add-constants[data-model-name])";

document.addEventListener("alpine:initialized", () => {
  Alpine.nextTick(() => {
    if (document.activeElement !== document.body) return;
    const first = document.querySelector(`${ADD_FORM} :is(input:not([type=hidden]), select, textarea)`);
    (document.querySelector("[autofocus]") ?? first)?.focus();
  });
});
