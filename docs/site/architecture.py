"""The architecture page: its picture and tables, drawn from the import graph, the floors of the contract and the docstrings.

    python -m docs.site.architecture        # writes docs/figures/architecture.svg and the tables of docs/concepts/architecture.md

A test fails if either is out of date.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from docs.site.picture import draw
from docs.site.records import code, table

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "figures" / "architecture.svg"
PAGE = ROOT / "docs" / "concepts" / "architecture.md"
_BESIDE = ("training", "reports", "templates")
"""Packages of audit that lie beside its folder in a checkout."""
_READ_IMPORTS = """
import grimp, json
graph = grimp.build_graph("audit")
inside = lambda m: m.split(".")[1] if "." in m else ""
edges = {(inside(a), inside(b)) for a in graph.modules for b in graph.find_modules_directly_imported_by(a)}
print(json.dumps(sorted([a, b] for a, b in edges if a and b and a != b)))
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One step of an audit: what it makes, and where its code begins."""

    makes: str
    """What comes out, in the plural."""
    module: str
    """Module to read."""
    verb: str
    """Its function."""

    @property
    def package(self) -> str:
        """The package of `audit` that it belongs to."""
        return self.module.split(".")[1]


FLOW = (
    Step(makes="images", module="audit.data.images", verb="read_gray"),
    Step(makes="records", module="audit.data.manifests", verb="load_cohort"),
    Step(makes="text regions", module="audit.text.find", verb="find_regions"),
    Step(makes="conditions", module="audit.suites.reader", verb="load_suite"),
    Step(makes="predictions", module="audit.prediction.engine", verb="predict_all"),
    Step(makes="effects", module="audit.statistics.effects", verb="measure_effects"),
    Step(makes="verdict", module="audit.gates.judging", verb="judge"),
    Step(makes="report", module="audit.reports.page.html", verb="render_html"),
)
"""The way of the data; `audit.run.pipeline` calls these in this order."""
BRANCH = Step(makes="relevance", module="audit.relevance.auditing", verb="audit_relevance")
"""What leaves the way after the text regions, and joins it in the report."""


def floors() -> list[list[str]]:
    """Return the floors of the layers contract in pyproject.toml, the highest first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (layers,) = (
        c["layers"]
        for c in settings["tool"]["importlinter"]["contracts"]
        if c["type"] == "layers" and c["containers"] == ["audit"] and c.get("exhaustive")
    )
    return [[name.strip() for name in re.split("[:|]", floor)] for floor in layers]


@cache
def imports() -> list[tuple[str, str]]:
    """Return (importing, imported) for every pair of packages and modules directly below `audit`, read by grimp."""
    with tempfile.TemporaryDirectory() as laid:
        # As installed: one package. A checkout keeps three of its folders beside it, where grimp does not look.
        only_code = shutil.ignore_patterns("*.pyc", "__pycache__", "*.toml", "*.j2")
        shutil.copytree(ROOT / "audit", Path(laid) / "audit", ignore=only_code)
        for name in _BESIDE:
            shutil.copytree(ROOT / name, Path(laid) / "audit" / name, ignore=only_code)
        paths = {**os.environ, "PYTHONPATH": laid}
        read = subprocess.run(
            [sys.executable, "-c", _READ_IMPORTS], cwd=laid, env=paths, stdout=subprocess.PIPE, text=True, check=True
        )
    return [(a, b) for a, b in json.loads(read.stdout)]


def floors_table() -> str:
    """Return the table of floors: their packages, and what each is, by its docstring."""
    levels = floors()
    rows = [
        [str(len(levels) - i), code(name), _about(name)] for i, floor in enumerate(levels) for name in sorted(floor)
    ]
    return table(["layer", "package", "what it is"], rows)


def steps_table() -> str:
    """Return the table of steps: what each makes, and the function that does it."""
    rows = [[s.makes, code(f"{_file(s.module)}"), code(s.verb)] for s in (*FLOW, BRANCH)]
    return table(["what comes out", "file", "function"], rows)


def picture() -> str:
    """Return the picture as SVG."""
    return draw([(s.makes, s.package) for s in FLOW], (BRANCH.makes, BRANCH.package), floors(), imports())


def page(text: str) -> str:
    """Return the page with its tables as they are now.

    Parameters
    ----------
    text : str
        The page; a table stands between `<!-- NAME -->` and `<!-- /NAME -->`.
    """
    for name, content in (("floors", floors_table()), ("steps", steps_table())):
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, rest = text.split(start)
        text = f"{before}{start}\n{content}\n{end}{rest.split(end)[1]}"
    return text


def main() -> None:
    """Write the picture and the tables of the page."""
    PICTURE.write_text(picture(), encoding="utf-8")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def _folder(name: str) -> Path:
    return ROOT / name if name in _BESIDE else ROOT / "audit" / name


def _file(module: str) -> str:
    parts = module.split(".")[1:]
    return f"{_folder(parts[0]).joinpath(*parts[1:]).relative_to(ROOT).as_posix()}.py"


def _about(name: str) -> str:
    """Return the first line of a package's or module's docstring."""
    package = _folder(name) / "__init__.py"
    source = package if package.is_file() else _folder(name).with_suffix(".py")
    return (ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or "").split("\n")[0]


if __name__ == "__main__":
    main()
