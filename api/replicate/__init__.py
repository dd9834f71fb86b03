"""Replicate's predictions in front of the farm's jobs: requests become jobs, answers are made of them."""
