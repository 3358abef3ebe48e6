"""Time and memory of checking a manifest of 200,000 rows, beside the reading of pixels, against the same checks written plainly.

The plain way is what a competent analyst writes with pandas: read the table, parse each column with vectorised functions, and
look for what is wrong; the records are then made one by one. What it leaves out is what a cell may hold in other tables: encodings,
separators, paths of other machines, ages with units, ids that differ by zeros.

    python -m benchmarks.manifest_speed [--rows 200000] [--columns 40] [--limit-seconds 15] [--limit-mb 500]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CLASSES = ("normal", "pneumonia", "covid")
FURTHER = 30


def write_manifest(path: Path, n_rows: int, n_further: int) -> None:
    """Write a table with every column that is read, and some that are not."""
    further = "".join(f",extra_{i}" for i in range(n_further))
    cells = ",some text of no use" * n_further
    with path.open("w", encoding="utf-8") as file:
        file.write(f"Image Path,Label,Source,Site,Patient ID,View Position,Sex,Age,Split,Findings{further}\n")
        for i in range(n_rows):
            patient = i // 3
            split = ("train", "train", "validation", "test")[patient % 4]
            file.write(
                f"images/{i % 1000:03d}/img_{i:06d}.png,{CLASSES[i % 3]},hospital {i % 5},site {i % 40},P{patient:06d},"
                f"{('PA', 'AP')[i % 2]},{'MF'[patient % 2]},{20 + patient % 60:03d}Y,{split},No Finding{cells}\n"
            )


def checked(path: Path) -> int:
    """Check the table as `audit run` does; images are not decoded, but given hashes and facts of a few kinds."""
    from audit.data import manifests
    from audit.data.checks import CheckedImages
    from audit.data.images import ImageFacts
    from audit.data.pseudonyms import Pseudonyms
    from audit.data.records import Record

    facts = [
        ImageFacts(
            format=f, depth=8, samples=1, photometric_interpretation="L", compression="deflate", decoder="Pillow"
        )
        for f in ("PNG", "JPEG")
    ]

    def pretend(records: Iterable[Record], on_bad_image: str) -> CheckedImages:
        found = CheckedImages(records=list(records), hashes={}, shapes={}, facts={}, bad=[], notes=[])
        for i, record in enumerate(found.records):
            digest = hashlib.sha256(record.id.encode())
            found.hashes[record.id] = digest.hexdigest(), digest.hexdigest()
            found.shapes[record.id] = (1024, 1024)
            found.facts[record.id] = facts[i % 2]
        return found

    manifests.check_images = pretend  # type: ignore[assignment]
    names = Pseudonyms(key=b"a key of this benchmark")
    return len(manifests.load_cohort(path, classes=CLASSES, names=names, withhold=True).records)


@dataclass(frozen=True)
class PlainRecord:
    """A record as a script would hold it."""

    path: Path
    row: dict[str, Any]


def plain(path: Path) -> int:
    """Read and check the table with pandas."""
    import pandas as pd

    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.columns = [name.strip().lower().replace(" ", "_") for name in table.columns]
    assert {"image_path", "label"} <= set(table.columns)
    assert (table["image_path"].str.strip() != "").all()
    assert not table["image_path"].duplicated().any()
    assert table["label"].isin([*CLASSES, ""]).all()
    assert table["split"].isin(["train", "validation", "test", ""]).all()
    assert (table.groupby("patient_id")["split"].nunique() <= 1).all()
    assert table["view_position"].isin(["PA", "AP", "L", ""]).all()
    assert table["sex"].isin(["F", "M", ""]).all()
    table["age"] = pd.to_numeric(table["age"].str.extract(r"^(\d+)Y?$")[0], errors="coerce")
    assert table["age"].between(0, 120).all()
    table["image"] = [hashlib.sha256(f"key{name}".encode()).hexdigest()[:16] for name in table["image_path"]]
    table["patient"] = [hashlib.sha256(f"key{name}".encode()).hexdigest()[:16] for name in table["patient_id"]]
    digest = hashlib.sha256()
    for row in table[["image_path", "label", "patient_id", "source", "split"]].itertuples(index=False):
        digest.update("\x1f".join(row).encode())
    folder = path.parent
    return len([PlainRecord(folder / row["image_path"], row) for row in table.to_dict("records")])


WAYS = {"audit": checked, "plain": plain}


def measured(way: str, path: Path) -> dict[str, float]:
    """Run one way in a process of its own; return its seconds, its largest memory, and how much it grew."""
    told = subprocess.run(
        [sys.executable, __file__, "--way", way, "--manifest", str(path)], check=True, capture_output=True, text=True
    )
    found: dict[str, float] = json.loads(told.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print both, and their ratio; fail beyond the limits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--columns", type=int, default=10 + FURTHER)
    parser.add_argument("--limit-seconds", type=float, default=15.0)
    parser.add_argument("--limit-mb", type=float, default=500.0)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--manifest", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        import audit.data.manifests  # noqa: F401  # the libraries' own memory and time are not the table's

        before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        rows = WAYS[options.way](options.manifest)
        seconds = time.process_time() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found = {"rows": rows, "seconds": seconds, "peak_mb": peak / 1024, "grown_mb": (peak - before) / 1024}
        sys.stdout.write(json.dumps(found) + "\n")
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "manifest.csv"
        write_manifest(path, options.rows, options.columns - 10)
        found = {way: measured(way, path) for way in WAYS}
    for way, one in found.items():
        sys.stdout.write(
            f"{way:<6} {one['rows']:,.0f} rows of {options.columns} columns: {one['seconds']:.1f} s of processor time, "
            f"{one['peak_mb']:.0f} MB at most, {one['grown_mb']:.0f} MB of them the table's\n"
        )
    time_ratio = found["plain"]["seconds"] / found["audit"]["seconds"]
    memory_ratio = found["plain"]["peak_mb"] / found["audit"]["peak_mb"]
    sys.stdout.write(f"plain / audit: {time_ratio:.2f} in time, {memory_ratio:.2f} in memory\n")
    if found["audit"]["seconds"] > options.limit_seconds or found["audit"]["peak_mb"] > options.limit_mb:
        raise SystemExit(f"exceeds the limit of {options.limit_seconds:g} s or {options.limit_mb:g} MB")


if __name__ == "__main__":
    main()
