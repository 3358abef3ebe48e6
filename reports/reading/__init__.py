"""A finished run as renderings see it."""
