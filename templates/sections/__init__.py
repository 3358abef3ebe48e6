"""Templates of the report's sections."""
