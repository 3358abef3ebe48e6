"""One reader a family of files; `audit.data.images` is their only door."""
