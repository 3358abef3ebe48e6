"""A run of many images, made of a small one: its images many times over, under new names, and with hashes that are right."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from audit.store.folder import RunFolder


def large_run(small: Path, folder: Path, n_images: int, *, n_parts: int = 1) -> Path:
    """Write a run of `n_images` images like those of a small run; its effects stay those of the small one."""
    shutil.copytree(small, folder)
    records = pq.read_table(small / "records.parquet")
    predictions = pa.concat_tables([pq.read_table(p) for p in sorted((small / "predictions").glob("*"))])
    n = records.num_rows
    order = {name: i for i, name in enumerate(records.column("record_id").to_pylist())}
    image_of_row = np.array([order[name] for name in predictions.column("record_id").to_pylist()])
    rows_of = [np.flatnonzero(image_of_row == i) for i in range(n)]
    images = np.arange(n_images) % n
    names = np.array([f"{i:016x}" for i in range(n_images)])
    large = records.take(pa.array(images)).set_column(0, "record_id", pa.array(names))
    pq.write_table(large.replace_schema_metadata(None), folder / "records.parquet")
    for part in (folder / "predictions").glob("*"):
        part.unlink()
    for number, chosen in enumerate(np.array_split(np.arange(n_images), n_parts)):
        rows = np.concatenate([rows_of[images[i]] for i in chosen])
        named = np.concatenate([np.repeat(names[i], len(rows_of[images[i]])) for i in chosen])
        table = predictions.take(pa.array(rows))
        table = table.set_column(table.schema.get_field_index("record_id"), "record_id", pa.array(named))
        donors = pa.array([""] * len(rows))
        table = table.set_column(table.schema.get_field_index("donor"), "donor", donors)
        pq.write_table(table, folder / "predictions" / f"part-{number:05d}.parquet")
    regions = pq.read_table(small / "regions.parquet")
    pq.write_table(regions.slice(0, 0), folder / "regions.parquet")
    record = json.loads((folder / "run.json").read_text())
    record["files"] = RunFolder(folder).hashes()
    (folder / "run.json").write_text(json.dumps(record))
    return folder
