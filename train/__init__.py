"""Turns a curated Parquet file into a better model: a thin, offline DPO trainer.

Importing it sets variables that libraries read once, when they are imported. The Hugging Face libraries go offline:
nothing in this package ever needs the network. OpenMP's threads sleep while they wait: spinning, its default, made a
run on a busy machine more than five times slower (docs/decisions.md); whoever sets the variable keeps their choice.
"""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
