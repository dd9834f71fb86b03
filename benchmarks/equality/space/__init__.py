"""The parameter space: every field of a spec that the picture depends on, with its range, by subject."""
