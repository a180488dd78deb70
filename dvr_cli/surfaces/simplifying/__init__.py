"""Fewer faces for the same surface, closed and manifold as before."""
