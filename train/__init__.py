"""Turns a curated Parquet file into a better model: a thin, offline DPO trainer.

Importing it switches the Hugging Face libraries to offline: they read these variables once, when they are imported,
and nothing in this package ever needs the network.
"""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
