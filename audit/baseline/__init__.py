"""A pinned state that later runs are compared with."""
