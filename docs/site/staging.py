"""What the builder reads: the written pages, the README as home, the generated reference."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from docs.site.reference import PAGES

ROOT = Path(__file__).parents[2]
WRITTEN = ("guides", "concepts", "reference", "figures", "schema")
"""Folders of `docs` that are copied as they are."""
_PICTURES_AND_PAGES = ("*.md", "*.jpg", "*.png", "*.svg", "*.json")


def stage(folder: Path) -> None:
    """Write every page into an empty folder.

    Parameters
    ----------
    folder : Path
        Where to; what is there is removed.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for part in WRITTEN:
        for pattern in _PICTURES_AND_PAGES:
            for source in (ROOT / "docs" / part).glob(pattern):
                _put(folder / part / source.name, source.read_bytes())
    # A folder of schemas is a page on the site, and a folder on a code host.
    for page in folder.glob("*/*.md"):
        page.write_text(
            page.read_text(encoding="utf-8").replace("](../schema)", "](../reference/schemas.md)"), encoding="utf-8"
        )
    _put(folder / "index.md", home((ROOT / "README.md").read_text(encoding="utf-8")).encode())
    _put(folder / "changelog.md", home((ROOT / "CHANGELOG.md").read_text(encoding="utf-8")).encode())
    _put(folder / "licence.md", f"# Licence\n\n```\n{(ROOT / 'LICENSE').read_text(encoding='utf-8')}```\n".encode())
    for name, (_, write) in PAGES.items():
        _put(folder / "reference" / f"{name}.md", write().encode())


def home(readme: str) -> str:
    """Return the README with its links as they are on the site, where `docs/` is the root."""
    moved = readme.replace("](LICENSE)", "](licence.md)").replace("](CHANGELOG.md)", "](changelog.md)")
    # A page is called by its path in the checkout; on the site by its name.
    named = re.sub(r"\[docs/(?:\w+/)?([\w-]+)\.md\]\(", lambda m: f"[{m[1].replace('-', ' ')}](", moved)
    return named.replace("](docs/", "](")


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
