"""The picture of the imports: no circle of modules, not even one that is closed inside a function or for the type checker alone."""

from __future__ import annotations

import json
import os
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
