"""The way to our data: the store's verbs, the commit rule, and one file of operations per noun."""
