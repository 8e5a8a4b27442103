// Opens the browser's print dialog at once, and again from the button.
document.getElementById("print").addEventListener("click", () => window.print());
window.addEventListener("load", () => window.print());
