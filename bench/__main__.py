"""Runs every benchmark at a size that takes minutes.

python -m bench
"""

from bench import collector, ingest, logger, pairing

ingest.main()
logger.main()
collector.main()
pairing.main()
