"""Colours for a surface from photographs: for the texels of an atlas, or for vertices. Entrance: `bake`."""
