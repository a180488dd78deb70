"""Losses, pixel sampling, the coarse-to-fine schedule, the loop, and the run folder with its checkpoints."""
