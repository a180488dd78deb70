"""Offline renders of meshes and contact sheets of images."""
