"""Rays, first hit with its implicit gradient, and shading: a torch API over `kernels`."""
