"""Annotators without a browser, for tests: label every pair they are given, one thread each.

    python labelling_worker.py URL K ANNOTATOR [ANNOTATOR ...]

Prints the id of every event after the store has acknowledged it.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

from app.store import open_store
from app.voting import Desk
from ingest.settings import Labels


def label_all(desk: Desk) -> None:
    while showing := desk.next():
        verdict = "tie" if showing.pair_id[-1] in "01" else "left"
        if event := desk.vote(showing, verdict):
            sys.stdout.write(event.event_id + "\n")
            sys.stdout.flush()


url, k, *annotators = sys.argv[1:]
store = open_store(url)
with ThreadPoolExecutor(len(annotators)) as threads:
    for ended in [
        threads.submit(label_all, Desk(store, name, Labels(url=url, annotators_per_pair=int(k)))) for name in annotators
    ]:
        ended.result()
store.engine.dispose()
