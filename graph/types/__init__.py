"""One file of GraphQL types per noun: each made of a record of the domain by its `of`, with edges through the loaders."""
