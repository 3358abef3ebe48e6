"""Write docs/schema anew: `python -m tests.golden.make_schemas`, and read the diff before committing it."""

from __future__ import annotations

import json
from pathlib import Path

from audit.reports.schema import schemas

FOLDER = Path(__file__).parents[2] / "docs" / "schema"


def main() -> None:
    for name, schema in schemas().items():
        text = json.dumps(schema, indent=2, sort_keys=True) + "\n"
        (FOLDER / f"{name}.schema.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
