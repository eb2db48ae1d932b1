"""PlasticineLab's ten tasks (Huang et al., ICLR 2021), rebuilt: five variants each, targets of our own making."""
