"""What the benchmarks of rendering share: the images asked for, stock diffusers that paints them, a farm that does."""
