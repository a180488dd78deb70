"""Photographs, cameras, masks and depth, read into a `Scene`. NumPy only: no torch below this line."""
