"""A model of the life of renders, and a hostile outside world to hold the real thing against it."""
