"""One file of GraphQL types per noun: each made of a domain record by its `of`, with edges through the loaders."""
