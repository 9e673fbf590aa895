"""An optimizer's updates before the judge: each equation of a rule, or the step as it was recorded."""
