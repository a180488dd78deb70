"""Masks: which file belongs to which photograph, what in it marks the object, and making masks where there are none."""
