"""From predictions to effects: per-image measures, intervals that resample patients, multiplicity, power.

`audit.statistics.effects.measure_effects` is the verb; the other modules are its steps, in this order: measures (one
number an image), alignment (a table in the order of its ids), clusters (sums within patients and their bootstrap),
estimands (what is estimated over which images), intervals and power, multiplicity.
"""
