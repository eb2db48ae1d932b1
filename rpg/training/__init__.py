"""How a run goes: the trainer, rollouts, gradient estimators, metrics, checkpoints, evaluation, modes and plots."""
