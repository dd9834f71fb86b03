"""Whose render is next, and which worker serves which model: pure functions over a few jobs, never over renders."""

from latentfarm.fairness.affinity import Affinity, Demand, Holder
from latentfarm.fairness.assigning import assign
from latentfarm.fairness.deciding import decide
from latentfarm.fairness.view import Credits, Standing, Take, View, Waiting

__all__ = [
    "Affinity",
    "Credits",
    "Demand",
    "Holder",
    "Standing",
    "Take",
    "View",
    "Waiting",
    "assign",
    "decide",
]
