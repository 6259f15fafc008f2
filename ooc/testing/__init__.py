"""For tests of one's own: a pytest plugin that holds them to a memory bound."""
