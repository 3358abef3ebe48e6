"""One picture: the way of the data above, the floors of the packages below, with the imports between them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise

_WIDTH = 1120
_TOP = 252
"""Where the floors begin."""
_ROW = 66
_BOX = 30
_LEFT = 70
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1c2330; text-anchor: middle }
.small { font-size: 11px; fill: #5a6478 }
.title { font-size: 14px; font-weight: 600; text-anchor: start }
.noun { fill: #e4ebfb; stroke: #3f51b5 }
.package { fill: #ffffff; stroke: #3f51b5 }
.floor { fill: #f4f6fb }
.way { stroke: #3f51b5; stroke-width: 1.6; fill: none; marker-end: url(#tip) }
.import { stroke: #8390ad; stroke-width: 1; fill: none; marker-end: url(#small-tip) }
"""


def draw(
    flow: Sequence[tuple[str, str]],
    branch: tuple[str, str],
    floors: Sequence[Sequence[str]],
    imports: Sequence[tuple[str, str]],
) -> str:
    """Return an SVG.

    Parameters
    ----------
    flow : sequence of (str, str)
        What comes out of each step, and the package that makes it.
    branch : (str, str)
        A step that leaves after the third, and joins the last.
    floors : sequence of sequences of str
        Packages by floor, the highest first.
    imports : sequence of (str, str)
        Importing and imported package. Those that a chain of others implies, and those of the lowest floor, are not drawn.
    """
    height = _TOP + _ROW * len(floors) + 34
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        'aria-label="The flow of the data, and the layers of the packages">',
        f"<style>{_STYLE}</style>",
        "<defs>",
        *(
            f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="{size}" markerHeight="{size}" '
            f'orient="auto"><path d="M0 0L8 4L0 8z" fill="{colour}"/></marker>'
            for name, size, colour in (("tip", 7, "#3f51b5"), ("small-tip", 6, "#8390ad"))
        ),
        "</defs>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        *_way(flow, branch),
        *_house(floors, imports),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def without_implied(edges: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the edges that no chain of other edges implies (the transitive reduction of a graph without circles)."""
    below: dict[str, set[str]] = {}
    for a, b in edges:
        below.setdefault(a, set()).add(b)

    def reached(start: str, without: tuple[str, str]) -> set[str]:
        seen: set[str] = set()
        stack = [n for n in below.get(start, ()) if (start, n) != without]
        while stack:
            node = stack.pop()
            if node not in seen:
                seen.add(node)
                stack += below.get(node, ())
        return seen

    return sorted((a, b) for a, b in edges if b not in reached(a, (a, b)))


def _way(flow: Sequence[tuple[str, str]], branch: tuple[str, str]) -> list[str]:
    width, gap, top = 106, 28, 56
    lines = ['<text class="title" x="24" y="28">Data flow</text>']
    middles = [24 + i * (width + gap) + width / 2 for i in range(len(flow))]
    for middle, (noun, package) in zip(middles, flow, strict=True):
        lines += _box("noun", middle, top, width, 36, noun)
        lines.append(f'<text class="small" x="{middle:g}" y="{top + 54}">{escape(package)}</text>')
    for a, b in pairwise(middles):
        lines.append(f'<path class="way" d="M{a + width / 2:g} {top + 18}H{b - width / 2 - 2:g}"/>')
    start, end, level = middles[2], middles[-1], top + 92
    centre = (middles[4] + middles[5]) / 2
    lines += _box("noun", centre, level, width, 36, branch[0])
    lines.append(f'<text class="small" x="{centre:g}" y="{level + 54}">{escape(branch[1])}</text>')
    # The labels under the boxes are left free.
    lines.append(f'<path class="way" d="M{start - 30:g} {top + 36}V{level + 18}H{centre - width / 2 - 2:g}"/>')
    lines.append(f'<path class="way" d="M{centre + width / 2:g} {level + 18}H{end + 42:g}V{top + 38}"/>')
    return lines


def _house(floors: Sequence[Sequence[str]], imports: Sequence[tuple[str, str]]) -> list[str]:
    lines = [
        f'<text class="title" x="24" y="{_TOP - 18}">Layers: a package imports from its own layer and those below</text>'
    ]
    place: dict[str, tuple[float, int]] = {}
    boxes: list[str] = []
    for row, floor in enumerate(floors):
        top = _TOP + row * _ROW
        lines.append(
            f'<rect class="floor" data-floor="{len(floors) - row}" x="24" y="{top}" width="{_WIDTH - 48}" height="{_BOX + 16}" rx="6"/>'
        )
        lines.append(f'<text class="small" x="46" y="{top + 27}">{len(floors) - row}</text>')
        slot = (_WIDTH - _LEFT - 48) / len(floor)
        for column, name in enumerate(floor):
            middle = _LEFT + (column + 0.5) * slot
            place[name] = (middle, row)
            boxes += _box("package", middle, top + 8, min(slot - 14, 132), _BOX, name)
    lowest = len(floors) - 1
    known = [(a, b) for a, b in imports if a in place and b in place and place[b][1] < lowest]
    for a, b in without_implied(known):
        (x, up), (u, down) = place[a], place[b]
        start, end = _TOP + up * _ROW + 8 + _BOX, _TOP + down * _ROW + 6
        if up == down:
            arc = _TOP + up * _ROW + 8
            lines.append(
                f'<path class="import" data-import="{a} {b}" d="M{x:g} {arc}C{x:g} {arc - 22} {u:g} {arc - 22} {u:g} {arc - 2}"/>'
            )
        else:
            bend = (end - start) / 2
            lines.append(
                f'<path class="import" data-import="{a} {b}" d="M{x:g} {start}C{x:g} {start + bend:g} {u:g} {end - bend:g} {u:g} {end}"/>'
            )
    below = _TOP + _ROW * len(floors) + 10
    note = "Imports that a chain of other imports implies are not drawn. Every package may import the lowest layer."
    return [*lines, *boxes, f'<text class="small" x="{_WIDTH / 2:g}" y="{below}">{note}</text>']


def _box(kind: str, middle: float, top: float, width: float, height: float, text: str) -> list[str]:
    return [
        f'<rect class="{kind}" x="{middle - width / 2:g}" y="{top:g}" width="{width:g}" height="{height:g}" rx="5"/>',
        f'<text x="{middle:g}" y="{top + height / 2 + 4.5:g}">{escape(text)}</text>',
    ]
