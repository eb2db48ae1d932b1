"""What is learned: latent distributions, action policies, posteriors, value functions, and the networks they share."""
