"""A user with only a mouse or only a keyboard. Both count what a task takes."""

from playwright.sync_api import Locator, Page, Position, expect

MOST_TABS = 60
SPARE_KEYS = 3
"""Keys that a task may take beyond its limit. A new link in the sidebar costs one or two."""
START_OF_TEXT = Position(x=16, y=16)
"""The first digit of a number in a field."""

IS_FOCUSED = "element => element === document.activeElement"
IS_BEFORE_FOCUS = """element => {
  const position = document.activeElement.compareDocumentPosition(element);
  return Boolean(position & Node.DOCUMENT_POSITION_PRECEDING);
}"""
IS_BEYOND_SIDEBAR = "element => !element.closest('#nav-sidebar')"
NOTHING_IS_FOCUSED = "() => document.activeElement === document.body"


class Hands:
    """What both users have in common: they type into fields, and press Enter there."""

    pointing: str
    """What the user presses besides typed texts."""

    def __init__(self, page: Page, task: str) -> None:
        self.page = page
        self.task = task
        self.presses = 0
        """Clicks, or keys without typed characters."""
        self.fields = 0
        """Fields that were typed into."""

    def press(self, target: Locator) -> None:
        """Press a link or a button."""
        raise NotImplementedError

    def go_to(self, field: Locator) -> None:
        """Move the focus to a field and select its text."""
        raise NotImplementedError

    def search(self, text: str) -> None:
        """Search for products from any page."""
        raise NotImplementedError

    def enter(self) -> None:
        """Press Enter in a field."""
        self.page.keyboard.press("Enter")

    def follow(self, target: Locator) -> None:
        """Press a link or a button, and wait for the page that it opens."""
        with self.page.expect_navigation():
            self.press(target)

    def send(self) -> None:
        """Press Enter in a field, and wait for the page that it opens."""
        with self.page.expect_navigation():
            self.enter()

    def fill(self, field: Locator, text: str) -> None:
        """Go to a field and type a text."""
        self.go_to(field)
        self.type(text)

    def fill_focused(self, field: Locator, text: str) -> None:
        """Type into a field to which the page moves the focus by itself."""
        wait_for_focus(field)
        self.type(text)

    def type(self, text: str) -> None:
        self.page.keyboard.type(text)
        self.fields += 1

    def took(self, *, clicks: int, fields: int, keys: int) -> None:
        """Print what the task took. It may take no more than this, and some spare keys."""
        most = {"clicks": clicks, "keys": keys + SPARE_KEYS}[self.pointing]
        counts = f"{self.pointing:6} {self.presses:3}  fields {self.fields:2}"
        print(f"{self.task:42}  {counts}")  # noqa: T201
        assert self.presses <= most, f"at most {most} {self.pointing} are allowed"
        assert self.fields <= fields, f"at most {fields} fields are allowed"


class Mouse(Hands):
    """Clicks, and uses the keyboard for the texts of fields only."""

    pointing = "clicks"

    def press(self, target: Locator) -> None:
        self.presses += 1
        target.click()

    def go_to(self, field: Locator) -> None:
        if field.input_value():
            self.presses += 2
            field.dblclick(position=START_OF_TEXT)  # Selects the number.
        else:
            self.presses += 1
            field.click()

    def search(self, text: str) -> None:
        self.fill(search_of(self.page), text)
        self.send()


class Keyboard(Hands):
    """Reaches everything with Tab and Shift-Tab."""

    pointing = "keys"

    def press(self, target: Locator) -> None:
        self._reach(target)
        is_choice = target.get_attribute("type") in ("checkbox", "radio")
        self.key("Space" if is_choice else "Enter")

    def go_to(self, field: Locator) -> None:
        self._reach(field)

    def search(self, text: str) -> None:
        self.key("Control+k")
        self.fill_focused(search_of(self.page), text)
        self.send()

    def enter(self) -> None:
        self.key("Enter")

    def key(self, name: str) -> None:
        self.page.keyboard.press(name)
        self.presses += 1

    def _reach(self, target: Locator) -> None:
        """Press Tab until the target has the focus, or Shift-Tab if it comes before the focus."""
        self.page.wait_for_load_state()
        expect(target).to_be_visible()
        if self.page.evaluate(NOTHING_IS_FOCUSED) and target.evaluate(IS_BEYOND_SIDEBAR):
            self._skip_navigation()
        key = "Shift+Tab" if target.evaluate(IS_BEFORE_FOCUS) else "Tab"
        for _ in range(MOST_TABS):
            if target.evaluate(IS_FOCUSED):
                return
            self.key(key)
        raise AssertionError(f"{MOST_TABS} times {key} did not reach {target}")

    def _skip_navigation(self) -> None:
        skip = self.page.get_by_role("link", name="Skip to the content")
        if skip.count():
            self.key("Tab")
            self.key("Enter")
            wait_for_focus(self.page.get_by_role("main"))


def search_of(page: Page) -> Locator:
    return page.get_by_label("Find a product")


def wait_for_focus(target: Locator) -> None:
    """Wait for the focus. `to_be_focused` also requires that the window is in front."""
    target.page.wait_for_function(IS_FOCUSED, arg=target.element_handle())
