"""A finished run in other tools' forms."""
