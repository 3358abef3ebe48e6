"""The audit engine: images to records, regions, conditions, predictions, effects, verdict."""
