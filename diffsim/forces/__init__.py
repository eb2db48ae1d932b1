"""Forces that a user can read: the recorded wrenches of contact, and the list of contacts at a state."""
