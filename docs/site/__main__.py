"""Build the site: `make docs`, or `python -m docs.site`. A warning of the builder and a request to elsewhere are errors."""

from __future__ import annotations

import os
import subprocess
import sys

from docs.site.offline import foreign_requests
from docs.site.staging import ROOT, stage


def main() -> int:
    """Stage, build, check; return the exit code."""
    stage(ROOT / "build" / "docs")
    # The theme announces its successor in a banner on standard error; mkdocs.yml says why it is kept today.
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"], cwd=ROOT, env=quiet, check=False
    )
    if built.returncode:
        return built.returncode
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
