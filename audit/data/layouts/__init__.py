"""Data sets as they lie on disk without a manifest: recognised by name, or guessed by what is in the folder."""
