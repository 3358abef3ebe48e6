"""Write docs/schema anew: `python -m tests.golden.make_schemas`, and read the diff before committing it."""

from __future__ import annotations

import json
from pathlib import Path

from audit.run.schemas import BESIDE, DOCUMENTS, schema_of

FOLDER = Path(__file__).parents[2] / "docs" / "schema"


def files() -> dict[Path, str]:
    """Return the text of every schema, by its file."""
    return {
        FOLDER / f"{Path(kind.FILE).stem}.schema.json": json.dumps(schema_of(kind), indent=2, sort_keys=True) + "\n"
        for kind in (*DOCUMENTS, *BESIDE)
    }


def main() -> None:
    for file, text in files().items():
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
