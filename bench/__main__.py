"""Runs every benchmark at a size that takes minutes.

python -m bench
"""

from bench import ingest

ingest.main()
