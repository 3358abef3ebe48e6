"""Text finders behind one protocol, and the cache between them and the run."""
