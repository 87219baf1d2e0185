"""The door for people: read the input, call one operation, convert what it gives."""
