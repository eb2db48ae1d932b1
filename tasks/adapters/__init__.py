"""Tasks as the environments of RL libraries: Gymnasium, stable-baselines3, torchrl."""
