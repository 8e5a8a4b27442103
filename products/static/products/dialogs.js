// What the dialogs of the back office need besides Unfold's and htmx's own scripts.

// A dialog is sent once. htmx would keep a second click until the first is answered and then send
// the form again: 3 units would be added twice, or a count confirmed before the warning was read.

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
    // htmx takes a new form over a moment after it is shown. Sent before that, the browser would
    // send it to the page below the dialog.
    htmx.process(form);
  },
  true,
);

document.addEventListener("htmx:afterRequest", ({ detail }) => {
  // After a refusal it may be sent again; after a success the page is about to be left.
  if (!detail.xhr.getResponseHeader("HX-Redirect")) delete detail.elt.dataset.sent;
});

// htmx shows nothing of an answer that it does not expect, nor that there was none.

document.addEventListener("htmx:beforeRequest", () => {
  document.querySelector("#dialog [role=alert]")?.remove();
});

document.addEventListener("htmx:sendError", () => {
  say("There was no answer. Send it again: what was done is not done twice.");
});

document.addEventListener("htmx:responseError", ({ detail }) => {
  say(problem(detail.xhr) ?? `The service refused this (${detail.xhr.status}).`);
});

document.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr, target, isError } = event.detail;
  if (isError || !target.closest("#modal-content")) return;
  if (xhr.responseText.includes('id="dialog"')) return;
  event.preventDefault();
  window.location.reload(); // Whoever is logged out is asked to log in.
});

function problem(xhr) {
  try {
    return JSON.parse(xhr.responseText).detail;
  } catch {
    return null;
  }
}

function say(text) {
  const alert = document.createElement("p");
  alert.setAttribute("role", "alert");
  alert.className = "mb-4 text-red-700 dark:text-red-400";
  alert.textContent = text;
  document.querySelector("#dialog-form")?.before(alert);
}

// Whoever opens a dialog wants to type, also after a refusal.
document.addEventListener("htmx:afterSettle", (event) => {
  if (!event.target.closest("#modal-content")) return;
  const field = document.querySelector("#dialog :is(input:not([type=hidden]), select)");
  field?.focus();
  field?.select?.();
});
