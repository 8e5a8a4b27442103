"""Steps of a user, or of a scanner, on the pages Receive and Count."""

from playwright.sync_api import Page

PASTE = """
([text]) => {
  const data = new DataTransfer();
  data.setData("text", text);
  const init = { clipboardData: data, bubbles: true, cancelable: true };
  document.activeElement.dispatchEvent(new ClipboardEvent("paste", init));
}
"""


def open_page(page: Page, title: str) -> None:
    """Click a page in the sidebar and wait until its first field has the focus."""
    page.get_by_role("link", name=title, exact=False).first.click()
    wait_for_focus(page, "SKU, line 1")


def wait_for_focus(page: Page, label: str) -> None:
    page.wait_for_function(
        "label => document.activeElement?.getAttribute('aria-label') === label", arg=label
    )


def scan(page: Page, sku: str) -> None:
    """Type like a scanner: the code, then Enter."""
    page.keyboard.type(sku)
    page.keyboard.press("Enter")


def paste(page: Page, text: str) -> None:
    page.evaluate(PASTE, [text])


def values(page: Page) -> list[tuple[str, str]]:
    """Return the SKU and the units of each line."""
    rows = page.locator("#entry tbody tr")
    return [
        (row.locator(".entry-sku").input_value(), row.locator(".entry-amount").input_value())
        for row in rows.all()
    ]
