"""Suites of conditions: read from TOML, bound to perturbations."""
