"""What the past of a place adds to its environment."""
