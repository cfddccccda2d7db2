"""Runs every benchmark at a size that takes minutes.

python -m bench
"""

from bench import collector, ingest, logger, near_duplicates, pairing

ingest.main()
logger.main()
collector.main()
pairing.main()
near_duplicates.main()
