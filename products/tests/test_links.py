"""Every relative link in the project's Markdown files leads to an existing file and heading."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from django.conf import settings

ROOT: Path = settings.BASE_DIR
FOLDERS = ("docs", "benchmarks", "clients", "products")

_CODE = re.compile(r"^(```|~~~).*?^\1|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^()\s]+)\)")
_EXTERNAL = re.compile(r"[a-z][a-z+.-]*:|/", re.IGNORECASE)


def pages() -> list[Path]:
    """Return the Markdown files of the project."""
    found = list(ROOT.glob("*.md"))
    for folder in FOLDERS:
        found += (ROOT / folder).rglob("*.md")
    return sorted(page for page in found if "node_modules" not in page.parts)


def relative_links(page: Path) -> Iterator[str]:
    text = _CODE.sub("code", page.read_text(encoding="utf-8"))
    return (link for link in _LINK.findall(text) if not _EXTERNAL.match(link))


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    text = re.sub(r"(?s)^(```|~~~).*?^\1", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    times: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#+ +(.*)$", text, re.MULTILINE):
        heading = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading.strip().lower())
        slug = re.sub(r"[^\w\- ]", "", heading).replace(" ", "-")
        found.add(f"{slug}-{times[slug]}" if times[slug] else slug)
        times[slug] += 1
    return found


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in relative_links(page):
        path, _, anchor = unquote(link).partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert not broken
