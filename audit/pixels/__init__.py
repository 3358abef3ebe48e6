"""One reader a family of files; `audit.images` is their only door."""
