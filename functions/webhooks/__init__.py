"""What payment providers post: verified over the raw body, recorded, answered; a task does the work."""
