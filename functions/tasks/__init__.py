"""What follows a commit. Every task is delivered at least once, and may run twice."""
