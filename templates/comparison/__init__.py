"""Templates of the pages on several runs or networks."""
