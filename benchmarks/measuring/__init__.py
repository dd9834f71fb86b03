"""What the benchmarks of speed share: arms that take turns, a farm to measure, and the page of results."""
