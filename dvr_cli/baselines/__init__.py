"""Meshes made by other methods from the same scene, to stand beside ours."""
