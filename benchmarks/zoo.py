"""How accurate are the verdicts? Trains and audits the full zoo of networks with known shortcuts, and checks whether the targets are met.

    python -m benchmarks.zoo [--zoo full] [--out zoo] [--workers 2] [--suite standard]
    python -m benchmarks.zoo --kinds gamma contrast exposure jpeg-quality --networks 12 --null 36 --out properties

The second form measures bias and coverage of few kinds by many networks, each on test images of its own, with the edits of global
properties alone (a third of the predictions).

Repeat the command to resume: networks that were built and audits that were finished by this version are kept, so use another folder
after a change of the engine. Exit code 1 if a target is missed, 3 if one could not be judged. Estimated from single networks, on two
idle cores: about a quarter of an hour to build the 148 networks and an hour to audit them (17 s of processor time for an audit of phantoms,
some two minutes for one of radiographs, most of it for finding text).
"""

from __future__ import annotations

import argparse
import logging
from importlib import resources
from pathlib import Path

import torch

from audit.calibration.calibrate import Scale, calibrate_cases, calibrate_zoo, outcomes_of
from audit.calibration.page import accuracy_block, kinds_block, summary_blocks
from audit.calibration.table import make_table
from audit.calibration.zoo import many_networks
from audit.commands.progress import ProgressLines

_EDITS = ("class-shift", "look-shift")
_FOLDS = 24
"""Test sets of 128 images, which networks of one kind do not share."""


def properties_suite(folder: Path) -> Path:
    """Write the conditions of the suite `standard` that edit global properties as a suite of their own."""
    text = (resources.files("audit") / "suites" / "standard.toml").read_text(encoding="utf-8")
    head, *conditions = text.split("[[condition]]")
    head = head.split("[objects]")[0].replace('name = "standard"', 'name = "properties"')
    kept = [c for c in conditions if any(f'perturbation = "{name}"' in c for name in _EDITS)]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "properties.toml"
    path.write_text("[[condition]]".join([head, *kept]), encoding="utf-8")
    return path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zoo", default="full")
    parser.add_argument("--kinds", nargs="*", default=[], help="these kinds in place of a zoo")
    parser.add_argument("--networks", type=int, default=12, help="networks of each of these kinds")
    parser.add_argument("--null", type=int, default=36, help="null networks beside them")
    parser.add_argument("--out", type=Path, default=Path("zoo"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--suite", default="")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    with ProgressLines() as on_stage:
        if options.kinds:
            document = calibrate_cases(
                many_networks(options.kinds, options.networks, options.null),
                Scale(n_folds=_FOLDS),
                options.out,
                suite=options.suite or str(properties_suite(options.out)),
                workers=options.workers,
                on_stage=on_stage,
                about={"zoo": " ".join(options.kinds)},
            )
        else:
            document = calibrate_zoo(
                options.zoo,
                options.out,
                suite=options.suite or "standard",
                workers=options.workers,
                on_stage=on_stage,
            )
    table = make_table(outcomes_of(document))
    for block in [*summary_blocks(table), kinds_block(table), accuracy_block(table)]:
        print(f"\n{block.heading}")
        for row in (block.columns, *block.rows):
            print("  " + " | ".join(row))
    seconds = document["seconds"]
    print(f"\nbuilt in {seconds['building']} s, audited in {seconds['auditing']} s; {options.out / 'calibration.html'}")
    statuses = {target.status for target in table.targets}
    return 1 if "fail" in statuses else 3 if "too few" in statuses else 0


if __name__ == "__main__":
    raise SystemExit(main())
