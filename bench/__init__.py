"""Benchmarks: ratios against named baselines, each behind a gate that both sides computed the same thing."""
