"""Build the site: `make docs`, or `python -m docs.site`. A warning of the builder and a request to elsewhere are errors."""

from __future__ import annotations

import sys

from docs.site.building import build
from docs.site.offline import foreign_requests
from docs.site.staging import ROOT, stage


def main() -> int:
    """Stage, build, check; return the exit code."""
    stage(ROOT / "build" / "docs")
    wrong = build(ROOT / "mkdocs.yml")
    if wrong:
        sys.stderr.write(wrong)
        return 1
    site = ROOT / "build" / "site"
    requests = foreign_requests(site)
    if requests:
        sys.stderr.write("The built pages would load files from elsewhere:\n" + "\n".join(requests) + "\n")
        return 1
    sys.stdout.write(
        f"{site.relative_to(ROOT)}/index.html; with search: python -m http.server -d {site.relative_to(ROOT)}\n"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
