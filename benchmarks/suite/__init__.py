"""The task suite: every task solved at its full setting, and methods compared on a core of them."""
