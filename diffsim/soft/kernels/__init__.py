"""The kernels of a soft control step: constitutive update, particle-grid transfer, grid update, and their schedules."""
