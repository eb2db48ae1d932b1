"""Loads the robots and meshes that others made, and compares the robots' motion with MuJoCo's."""
