"""Effects are held against rules."""
