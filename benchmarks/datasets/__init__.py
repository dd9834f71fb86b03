"""What the benchmark of datasets is made of."""
