"""Turns a curated Parquet file into a better model: a thin, offline DPO trainer."""
