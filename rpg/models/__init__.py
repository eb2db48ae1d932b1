"""The learned models: latent distributions, action policies, posteriors, value functions, and the networks they share."""
