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
  },
  true,
);

document.addEventListener("htmx:afterRequest", ({ detail }) => {
  // After a refusal it may be sent again; after a success the page is about to be left.
  if (!detail.xhr.getResponseHeader("HX-Redirect")) delete detail.elt.dataset.sent;
});

// Whoever opens a dialog wants to type, also after a refusal.
document.addEventListener("htmx:afterSettle", (event) => {
  if (!event.target.closest("#modal-content")) return;
  const field = document.querySelector("#dialog :is(input:not([type=hidden]), select)");
  field?.focus();
  field?.select?.();
});
