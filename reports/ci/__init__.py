"""The judgement of a run in the forms that a CI reads."""
