"""Features, matches and triangulation with known cameras, through pycolmap; no torch."""
