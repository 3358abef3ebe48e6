"""The findings of a run, in sentences and records that all renderings share."""
