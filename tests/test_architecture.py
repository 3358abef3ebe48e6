"""The picture of the imports: no circle of modules, not even one that is closed inside a function or for the type checker alone.

And every name of the project that is imported or mentioned anywhere exists: neither mypy nor the suite sees the benchmarks, and nothing
else sees prose.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"audit": "audit", "training": "audit/training", "reports": "audit/reports", "templates": "audit/templates"}
PROGRAM = """
import json, sys, grimp
graph = grimp.build_graph("audit", cache_dir=None)
json.dump({m: sorted(graph.find_modules_directly_imported_by(m)) for m in sorted(graph.modules)}, sys.stdout)
"""


@pytest.fixture(scope="module")
def imports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Return what each module imports directly, of the folders laid out as a wheel lays them out."""
    site = tmp_path_factory.mktemp("site")
    for folder, place in FOLDERS.items():
        for source in (ROOT / folder).rglob("*.py"):
            target = site / place / source.relative_to(ROOT / folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=site,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def circles(edges: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Return the sets of modules that import one another in a circle: Tarjan's strongly connected components, without recursion."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    waiting: list[str] = []
    found = []
    for start in edges:
        if start in order:
            continue
        order[start] = lowest[start] = len(order)
        waiting.append(start)
        path = [(start, iter(edges[start]))]
        while path:
            module, rest = path[-1]
            following = next(rest, None)
            if following is None:
                path.pop()
                if path:
                    lowest[path[-1][0]] = min(lowest[path[-1][0]], lowest[module])
                if lowest[module] == order[module]:
                    members = waiting[waiting.index(module) :]
                    del waiting[waiting.index(module) :]
                    if len(members) > 1 or module in edges[module]:
                        found.append(sorted(members))
            elif following not in order:
                order[following] = lowest[following] = len(order)
                waiting.append(following)
                path.append((following, iter(edges[following])))
            elif following in waiting:
                lowest[module] = min(lowest[module], order[following])
    return found


def test_modules_import_in_no_circle(imports: Mapping[str, Sequence[str]]) -> None:
    for folder in ("audit.run", "audit.training", "audit.reports", "audit.templates"):
        assert folder in imports, f"{folder} is not in the picture"
    assert circles(imports) == []


def test_circles_are_found() -> None:
    assert circles({"a": ["b"], "b": ["c"], "c": []}) == []
    assert circles({"a": ["b"], "b": ["c"], "c": ["b", "d"], "d": []}) == [["b", "c"]]
    assert circles({"a": ["a"]}) == [["a"]]
    assert circles({"a": ["b"], "b": ["a"], "c": ["d", "a"], "d": ["c"]}) == [["a", "b"], ["c", "d"]]


def top_names(source: str) -> set[str]:
    """Return what a module binds at its top level, in branches too."""
    names: set[str] = set()
    waiting: list[ast.stmt] = list(ast.parse(source).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(a.asname or a.name).partition(".")[0] for a in node.names}
        elif isinstance(node, ast.If | ast.Try | ast.With | ast.For):
            waiting += [inner for inner in ast.walk(node) if isinstance(inner, ast.stmt) and inner is not node]
        else:
            names |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return names


def known_names() -> dict[str, set[str]]:
    """Return module -> what it binds, its modules included, of every module of the distribution."""
    found: dict[str, set[str]] = {}
    for folder, place in FOLDERS.items():
        for source in (ROOT / folder).rglob("*.py"):
            parts = (*Path(place).parts, *source.relative_to(ROOT / folder).with_suffix("").parts)
            found[".".join(parts).removesuffix(".__init__")] = top_names(source.read_text())
    for module in list(found):
        parent, _, name = module.rpartition(".")
        if parent:
            found.setdefault(parent, set()).add(name)
    return found


def stale_names(text: str, known: Mapping[str, set[str]], *, code: bool) -> list[str]:
    """Return the names of the project in a text that do not exist: those that code imports, and those in backquotes."""
    wanted = [(found, True) for found in re.findall(r"`(audit(?:\.\w+){2,})", text)]
    for node in ast.walk(ast.parse(text)) if code else ():
        if isinstance(node, ast.ImportFrom) and node.module in known:
            wanted += [(f"{node.module}.{a.name}", False) for a in node.names if a.name != "*"]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("audit."):
            wanted.append((f"{node.module}.", False))
    stale = []
    for name, deeper in wanted:
        module, _, rest = name.rpartition(".")
        while module not in known and "." in module and deeper:  # an attribute of a class is not followed
            module, _, inner = module.rpartition(".")
            rest = inner
        if rest not in known.get(module, set()):
            stale.append(name)
    return stale


def test_names_of_the_project_exist() -> None:
    known = known_names()
    stale = {}
    for folder in (*FOLDERS, "tests", "benchmarks", "docs"):
        for file in sorted((ROOT / folder).rglob("*")):
            if file.suffix not in {".py", ".md"} or file == Path(__file__):  # the names below are stale on purpose
                continue
            if found := stale_names(file.read_text(), known, code=file.suffix == ".py"):
                stale[str(file.relative_to(ROOT))] = found
    assert stale == {}


@pytest.mark.parametrize(
    ("text", "code", "expected"),
    [
        ("from audit.models.requests import ModelRequest", True, []),
        ("from audit.models import requests", True, []),
        ("from audit.models.requests import prepared", True, ["audit.models.requests.prepared"]),
        ("def f():\n    from audit.models.gone import x\n", True, ["audit.models.gone."]),
        ("See `audit.models.requests.ModelRequest.kind` and `audit.models.requests`.", False, []),
        ("See `audit.models.requests.Nobody`.", False, ["audit.models.requests.Nobody"]),
        ("See `audit.models.gone.Nobody`.", False, ["audit.models.gone.Nobody"]),
    ],
)
def test_stale_names_are_found(text: str, code: bool, expected: list[str]) -> None:
    assert stale_names(text, known_names(), code=code) == expected
