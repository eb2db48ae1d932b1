"""The kernels of rigid dynamics: kinematics, dynamics, joint forces, contact, events, and whole rollouts."""
