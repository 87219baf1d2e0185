"""Adapters that need no account, for development and tests. A production store refuses to start with any of them."""
