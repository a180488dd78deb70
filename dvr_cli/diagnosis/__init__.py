"""What is wrong with a scene and what to do about it: findings by name, from photographs, cameras, masks, points."""
