"""Check the built site: each link and picture leads to a file, and no page loads anything from another host.

    python -m tests.support.built_site build/site

`zensical build --strict` fails for broken links between pages. It says nothing about missing pictures, or about pages
that only mkdocs.yml names.
"""

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {("link", "href"), ("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("video", "src")}
"""Elements and attributes whose address a browser loads with the page."""


class Addresses(HTMLParser):
    """The addresses in a page, and whether the browser loads them with it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, bool]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.found.append((value, (tag, name) in LOADED))


def problems(site: Path) -> Iterator[str]:
    """Yield one line for each address that is broken, or that is loaded from another host."""
    pages = sorted(site.rglob("*.html"))
    if not pages:
        yield f"{site} has no pages"
    for page in pages:
        parser = Addresses()
        parser.feed(page.read_text())
        for address, is_loaded in parser.found:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                if is_loaded and parts.scheme != "data":
                    yield f"{page.relative_to(site)} loads {address} from another host"
                continue
            # 404.html is shown at any address, so its links begin at the root.
            base = site if parts.path.startswith("/") else page.parent
            if parts.path and not (base / unquote(parts.path).lstrip("/")).exists():
                yield f"{page.relative_to(site)} links to {address}, which does not exist"


if __name__ == "__main__":
    found = list(problems(Path(sys.argv[1])))
    print("\n".join(found) or "every link of the site leads to a file")
    raise SystemExit(bool(found))
