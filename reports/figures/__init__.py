"""Geometry of the figures; the templates turn it into SVG."""
