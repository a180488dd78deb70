"""Metrics that compare a mesh with a reference surface."""
