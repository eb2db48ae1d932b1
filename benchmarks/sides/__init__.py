"""One problem run by two sides: two checkouts of the project, or one checkout with two kernel compilers."""
