"""What a run found, in sentences and records: every rendering says the same."""
