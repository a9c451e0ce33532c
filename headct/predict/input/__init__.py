"""What there is at a path, and one scan read from it."""
