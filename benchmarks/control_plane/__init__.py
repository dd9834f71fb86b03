"""What the benchmarks of the control plane share: a farm whose engine does no work, and its load."""
