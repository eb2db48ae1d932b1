"""Tools around gradients: finite-difference checks, reports along a rollout, smoothing schedules."""
