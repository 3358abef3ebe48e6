"""One audit, from settings to verdict."""
