"""Hugging Face's text-to-image in front of the farm's jobs: a request becomes a job, the answer is its image."""
