"""The columns of a run's Parquet tables, and which of them may be empty."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

REGIONS_SCHEMA = pa.schema(
    [
        # Here and below a name made with the key, unless ids are plain (`audit.data.pseudonyms`).
        ("record_id", pa.string()),
        ("x0", pa.int32()),
        ("y0", pa.int32()),
        ("x1", pa.int32()),
        ("y1", pa.int32()),
        ("text", pa.string()),  # empty where it may not be shown (`audit.data.strings.StringPolicy`)
        ("withheld", pa.bool_()),  # whether it was read, and is empty for that reason
        ("confidence", pa.float64()),
        ("kind", pa.string()),
        ("detector", pa.string()),
        ("polygon", pa.list_(pa.list_(pa.float64()))),
    ]
)
RECORDS_SCHEMA = pa.schema(
    [
        ("record_id", pa.string()),
        ("label", pa.string()),
        ("patient", pa.string()),  # a name, too
        ("source", pa.string()),
        ("site", pa.string()),
        ("view", pa.string()),
        ("sex", pa.string()),
        ("age", pa.float64()),
        ("n_regions", pa.int32()),
    ]
)
FINDINGS_SCHEMA = RECORDS_SCHEMA.append(pa.field("unknown", pa.string()))
"""The same of a multi-label task: `label` names the findings that are present, `unknown` those of which nothing is known, A|B."""
PREDICTIONS_SCHEMA = pa.schema(
    [
        ("record_id", pa.string()),
        ("condition", pa.string()),
        ("draw", pa.int32()),
        ("applied", pa.bool_()),
        ("why_not", pa.string()),
        ("changed_share", pa.float64()),
        ("donor", pa.string()),
        ("logits", pa.list_(pa.float32())),
        ("probabilities", pa.list_(pa.float32())),
        ("predicted", pa.string()),
        ("label", pa.string()),
    ]
)
RELEVANCE_SCHEMA = pa.schema(
    [
        ("record_id", pa.string()),
        ("target_class", pa.string()),
        ("preset", pa.string()),
        ("start", pa.float64()),
        ("mass_in_text", pa.float64()),
        ("signed_share", pa.float64()),
        ("area_share", pa.float64()),
        ("enrichment", pa.float64()),
        ("rank_accuracy", pa.float64()),
        ("placebo_low", pa.float64()),
        ("placebo_median", pa.float64()),
        ("placebo_high", pa.float64()),
        ("placebo_mean", pa.float64()),
        ("relocation_p", pa.float64()),
        ("same_place_p", pa.float64()),
        ("placebo_p", pa.float64()),
        ("mass_gone", pa.float64()),
        ("fall_when_gone", pa.float64()),
        ("map_boxes", pa.list_(pa.list_(pa.int32()))),
        ("region_masses", pa.list_(pa.float64())),
        ("region_areas", pa.list_(pa.float64())),
        ("at_pixels", pa.float64()),
        ("kept_bias", pa.float64()),
        ("kept_shift", pa.float64()),
        ("kept_stabiliser", pa.float64()),
        ("class_cosine", pa.float64()),
        ("conservation_gap", pa.float64()),
    ]
)
OUTPUTS_RELEVANCE_SCHEMA = RELEVANCE_SCHEMA.append(pa.field("output_masses", pa.list_(pa.float64())))
"""The same of a multi-label task, with the share of each output's own positive relevance that lies inside text."""
SCHEMAS: Mapping[str, pa.Schema] = {
    "regions": REGIONS_SCHEMA,
    "records": FINDINGS_SCHEMA,
    "predictions": PREDICTIONS_SCHEMA,
    "relevance": OUTPUTS_RELEVANCE_SCHEMA,
}
NEVER_NULL = frozenset(
    {
        "record_id", "text", "n_regions", "condition", "draw", "applied", "why_not", "changed_share", "logits", "probabilities",
        "predicted", "target_class", "preset", "start", "area_share", "map_boxes", "region_masses", "region_areas", "at_pixels",
        "kept_bias", "kept_shift", "kept_stabiliser",
    }
)  # fmt: skip
"""Columns that hold a value in every row, in whichever table they stand."""
OPTIONAL = frozenset({"unknown", "output_masses"})
"""Columns that only some runs have; they are read where they are named."""
FINITE = frozenset({"changed_share", "logits", "probabilities"})
"""Columns that hold nothing but numbers: a network that predicts something else ends the run."""
