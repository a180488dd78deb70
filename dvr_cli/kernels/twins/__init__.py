"""Slow, obvious torch twins of the kernels, written from the mathematics, in the precision of their inputs."""
