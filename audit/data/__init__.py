"""Images, their records and metadata."""
