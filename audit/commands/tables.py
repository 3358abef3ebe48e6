"""What commands print in tables and beside them: what was read from which column; and foreign words, which no terminal may obey."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from audit.commands.progress import ProgressLines
from audit.errors import shown_lines
from audit.store.serialise import plain

if TYPE_CHECKING:  # reading tables takes a third of a second to import, and commands for finished runs read none
    from audit.data.reading import TableReading


def printed(text: str, style: str = "") -> Text:
    """Return text for the terminal in which nothing is markup or a command: names of classes, files and columns are anybody's."""
    return Text(shown_lines(text), style=style)


class TableTeller:
    """Prints what was read, and keeps it for `--json`.

    Parameters
    ----------
    stages : ProgressLines
        What is printed beside.
    """

    def __init__(self, stages: ProgressLines) -> None:
        self._stages = stages
        self._readings: list[TableReading] = []

    def __call__(self, reading: TableReading) -> None:
        """Print what was read from which column."""
        self._stages.say(reading.lines)
        self._readings.append(reading)

    @property
    def document(self) -> Any:
        """What was read last, for machines; None where no table was read."""
        return plain(self._readings[-1]) if self._readings else None
