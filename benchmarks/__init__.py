"""Measurements that are too long for the tests. Each module runs by itself: ``python -m benchmarks.suite --help``."""
