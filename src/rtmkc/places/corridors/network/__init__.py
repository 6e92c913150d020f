"""Streets, and what stands in for them: lines become blocks that meet at corners."""
