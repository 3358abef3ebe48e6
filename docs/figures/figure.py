"""Draw docs/figures/figure.jpg, the README's picture, from a finished run of `audit demo`.

python docs/figures/figure.py demo/runs/<run> docs/figures/figure.jpg
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

SIDE_PX = 256
GAP_PX = 12
CAPTION_PX = 62
CONDITION = "text-mask-inpaint"


def main(run: Path, out: Path) -> None:
    cases = json.loads((run / "examples/examples.json").read_text(encoding="utf-8"))["examples"]
    case = next(c for c in cases if c["condition"] == CONDITION)
    pasted = [c for c in cases if c["condition"] == "letters-other-class"]
    other = next((c for c in pasted if c["record"] != case["record"]), pasted[0])
    folder = run / "examples"
    panels = [
        (_open(folder, case["clean"]), "unedited", case["clean"]),
        (_open(folder, case["edit"]), "text masked", case["edit"]),
        (_overlaid(folder, case), "relevance (LRP)", None),
        (
            _open(folder, other["clean"]),
            "another image" if other["record"] != case["record"] else "the same image",
            other["clean"],
        ),
        (_open(folder, other["edit"]), "foreign letters pasted", other["edit"]),
    ]
    width = len(panels) * (SIDE_PX + GAP_PX) - GAP_PX
    sheet = Image.new("RGB", (width, SIDE_PX + CAPTION_PX), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (picture, title, outputs) in enumerate(panels):
        x = index * (SIDE_PX + GAP_PX)
        sheet.paste(picture.resize((SIDE_PX, SIDE_PX)), (x, 0))
        draw.text((x, SIDE_PX + 6), title, fill="black", font=ImageFont.load_default(19))
        said = "of the first prediction"
        if outputs is not None:
            winner = outputs["predicted"]
            said = f"{winner} {outputs['probabilities'][winner]:.2f}"
        draw.text((x, SIDE_PX + 32), said, fill="#555555", font=ImageFont.load_default(17))
    sheet.save(out, quality=88)


def _open(folder: Path, part: dict[str, Any]) -> Image.Image:
    return Image.open(folder / part["file"]).convert("RGB")


def _overlaid(folder: Path, case: dict[str, Any]) -> Image.Image:
    image = _open(folder, case["clean"]).convert("RGBA")
    overlay = Image.open(folder / case["overlay"]["file"]).convert("RGBA").resize(image.size)
    return Image.alpha_composite(image, overlay).convert("RGB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
