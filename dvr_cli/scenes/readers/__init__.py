"""One file per scene format; `read_scene` picks the reader."""
