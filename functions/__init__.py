"""The door for machines: webhooks, tasks and the schedule. It never imports the graph."""
