"""The run folder and its contents."""
