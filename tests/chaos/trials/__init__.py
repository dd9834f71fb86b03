"""Trials: one question each, put to the same farm as a chaos run, with bounds on the answer."""
