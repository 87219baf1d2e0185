"""A Firestore for one machine: the wire protocol of google.firestore.v1 over one SQLite file.

`python -m emulator --data FILE` serves it. It imports nothing of the rest of this repository.
"""
