"""What `python -m benchmarks gpu` is made of: SDXL at its real size on one card, in stock's loop and in the engine."""
