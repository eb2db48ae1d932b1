"""The kernels of coupled scenes."""
