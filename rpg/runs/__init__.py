"""A run from outside its training loop: which task and settings it has, its folder, and what can be done with it afterwards."""
