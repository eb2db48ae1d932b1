"""Tasks of a Franka Panda: place, insert, open, grasp."""
