"""Prompts that belong together: of one conversation root, or almost the same question.

Reads view triples and table standing; makes tables question_texts(nr, key, triple_id), questions(prompt_hash,
question) and clusters(prompt_group, cluster_id). Part of `python -m curate run`. A question is what a conversation says
but for its system and developer messages, which many share: they would make all prompts of a product alike.

A cluster is a connected component over prompt groups: two are joined where a question of one is a near duplicate of a
question of the other. A new cluster is never in two splits (curate/split.py): no question is
trained on and tested.
"""

import duckdb
import numpy as np
import pyarrow as pa
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from curate import near_duplicates
from curate.near_duplicates import Groups
from curate.statements import statement
from curate.texts import Texts


def find(connection: duckdb.DuckDBPyConnection, threshold: float) -> Groups:
    """Put every prompt group of the standing triples into its cluster; return what was found among the questions.

    `threshold` is the Jaccard similarity of two questions' word triples from which they are near duplicates, in
    (0, 1]; at 1 only questions of the same words are.
    """
    connection.execute(statement("questions.sql"))
    texts = Texts(connection, "question_texts", "question", "question_text(prompt)")
    groups = near_duplicates.group(texts.sketches(), texts.fetch, threshold, texts.hold)
    labels = pa.table({"nr": np.arange(len(groups.label)), "question": groups.label})
    connection.register("labels", labels)
    connection.execute("""
        CREATE TEMP TABLE questions AS
        SELECT key AS prompt_hash, question FROM labels JOIN question_texts USING (nr)""")
    connection.unregister("labels")
    _join(connection)
    return groups


def _join(connection: duckdb.DuckDBPyConnection) -> None:
    """Make table clusters: the connected components of prompt groups and questions."""
    rows = connection.sql("""
        SELECT DISTINCT prompt_group, question FROM standing JOIN questions USING (prompt_hash)
        ORDER BY prompt_group, question""").to_arrow_table()
    names = rows["prompt_group"].combine_chunks().dictionary_encode()  # in order: the first code is the smallest name
    group, question = names.indices.to_numpy(), rows["question"].to_numpy()
    count = len(names.dictionary)
    size = count + int(question.max(initial=-1)) + 1
    graph = coo_array((np.ones(len(group), np.int8), (group, question + count)), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    _, first = np.unique(component[:count], return_index=True)
    smallest = np.zeros(component.max(initial=-1) + 1, np.int64)
    smallest[component[first]] = first
    connection.register(
        "found",
        pa.table(
            {
                "prompt_group": names.dictionary,
                "cluster_id": names.dictionary.take(pa.array(smallest[component[:count]])),
            }
        ),
    )
    connection.execute("CREATE TEMP TABLE clusters AS FROM found")
    connection.unregister("found")
