"""Mesh, cloud and image files: what each format holds, and how it is written and read."""
