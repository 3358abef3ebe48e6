"""Pages on several runs or several networks."""
