"""Equal to diffusers: parameter sets drawn from the space of specs, and what they are compared with."""
