"""OpenAI's Images API in front of the farm's own: its requests become jobs, its answers are made of them."""
