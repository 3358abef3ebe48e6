"""From predictions to effects: per-image measures, intervals that resample patients, multiplicity, power.

`audit.statistics.effects.measure_effects` is the verb; the other modules are its steps, in this order: outputs (logits, read in every
way), measure and catalogue (every measure, a record each), image_changes (numbers of an image), alignment (a table in the order of its
ids), patient_sums and patient_bootstrap (sums within patients, resampled), estimands (what is estimated over which images), intervals
and power, multiplicity.
"""
