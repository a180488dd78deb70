"""Extraction, cleaning and export of meshes. NumPy after this line."""
