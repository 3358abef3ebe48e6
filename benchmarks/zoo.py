"""How accurate are the verdicts? Trains and audits the full zoo of networks with known shortcuts, and checks whether the targets are met.

    python -m benchmarks.zoo [--zoo full] [--out zoo] [--workers 2] [--suite standard]

Repeat the command to resume: networks that were built and audits that were finished by this version are kept, so use another folder
after a change of the engine. Exit code 1 if a target is missed, 3 if one could not be judged. Estimated from single networks, on two
idle cores: about a quarter of an hour to build the 148 networks and an hour to audit them (17 s of processor time for an audit of phantoms,
some two minutes for one of radiographs, most of it for finding text).
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch

from audit.calibration.calibrate import calibrate_zoo, outcomes_of
from audit.calibration.page import summary_blocks
from audit.calibration.table import make_table
from audit.commands.progress import ProgressLines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zoo", default="full")
    parser.add_argument("--out", type=Path, default=Path("zoo"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--suite", default="standard")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    with ProgressLines() as on_stage:
        document = calibrate_zoo(
            options.zoo, options.out, suite=options.suite, workers=options.workers, on_stage=on_stage
        )
    table = make_table(outcomes_of(document))
    for block in summary_blocks(table):
        print(f"\n{block.heading}")
        for row in (block.columns, *block.rows):
            print("  " + " | ".join(row))
    seconds = document["seconds"]
    print(f"\nbuilt in {seconds['building']} s, audited in {seconds['auditing']} s; {options.out / 'calibration.html'}")
    statuses = {target.status for target in table.targets}
    return 1 if "fail" in statuses else 3 if "too few" in statuses else 0


if __name__ == "__main__":
    raise SystemExit(main())
