"""Warp kernels, one source for CPU and CUDA, each beside a slow torch twin that the tests compare it with."""
