"""dvr: calibrated photographs in, a textured surface in your own units out.

Importing this package loads nothing heavy; torch, Warp and Open3D are imported by the modules that need them.
"""

__version__ = "0.1.0"
