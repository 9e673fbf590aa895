"""The operators that frameworks are made of, one family to a page, each with a definition by hand."""
