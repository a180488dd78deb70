"""Readers on damaged and hostile input: every one ends in a scene or in a clean error."""
