"""A contest of ways to a policy with several modes; see `benchmarks.multimodal.__main__`."""
