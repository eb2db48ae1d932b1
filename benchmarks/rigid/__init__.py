"""Problems of the rigid solver's speed, for diffsim and its peers."""
