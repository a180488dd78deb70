"""What is optimised: a signed distance (or occupancy) field and a texture field behind one protocol."""
