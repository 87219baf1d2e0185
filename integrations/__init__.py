"""The way to others: a protocol per gateway in `services.py`, a file per provider, local adapters without accounts."""
