"""Texture coordinates: where each face lies in an image, and which texels it owns."""
