"""Runs every benchmark at a size that takes minutes.

python -m bench
"""

from bench import collector, ingest, label_queue, label_sessions, logger, near_duplicates, pairing, train

ingest.main()
logger.main()
collector.main()
pairing.main()
near_duplicates.main()
label_queue.main()
label_sessions.main()
train.main(["--repeats", "1", "--vocabularies", "2048"])
