"""The tasks of the papers on the Reparameterized Policy Gradient (Huang et al. 2023), rebuilt on particles and rigid bodies."""
