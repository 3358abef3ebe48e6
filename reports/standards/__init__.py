"""What reviewers' standards ask of a report, item by item, and which of it a run answers."""
