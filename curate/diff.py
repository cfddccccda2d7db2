"""What one snapshot has that another has not, row by row, and why.

Reads two folders that `python -m curate run` published. A triple came, went or changed. The reason of one that went is
in the newer snapshot's dropped.parquet, that of one that came in the older's: which rule, and whether it is the rule,
its settings or what it judges that changed.

    python -m curate diff A B [--out differences.parquet]
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa

from curate import snapshot
from curate.published import Snapshot, connect
from curate.statements import statement
from ingest.errors import SettingsError
from ingest.schema import CURATED

DIFFERENCE: Final = pa.schema(
    [
        pa.field("triple_id", pa.string(), nullable=False),
        ("what", pa.string()),  # "came", "went" or "changed"
        ("why", pa.string()),  # a sentence that the same change gives for every row
        ("rule", pa.string()),  # "name@vN" that drops it in the snapshot where it is not
        ("detail", pa.string()),  # what that rule saw; of a changed row the columns
    ]
)
KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "votes": ("n_votes", "n_agree", "agreement", "label_noise", "event_ids", "user_ids", "first_time", "last_time"),
    "split": ("split", "cluster_id"),
    "weight": ("weight",),
    "rule version": ("rule_version",),
}
"""What changed -> the columns that show it; any other column is its own kind."""


@dataclass(frozen=True)
class Differences:
    """How the curated rows differ: before = same + changed + went, after = same + changed + came."""

    before: str
    after: str
    same: int
    came: int
    went: int
    changed: int
    why: dict[str, int]
    """"went: rule too_long@v1 has other parameters" -> rows; adds up to came + went + changed."""
    rows: list[dict[str, Any]]
    """The first ones, by what and triple_id, as columns of DIFFERENCE."""


def diff(before: Snapshot, after: Snapshot, *, show: int, out: Path | None) -> Differences:
    """Compare two snapshots; `show` rows come back, all of them go to the new Parquet file `out`.

    Raises SettingsError where `out` exists.
    """
    with connect() as connection:
        _open(connection, before, after)
        ((same,),) = connection.execute("SELECT count(*) FROM shared WHERE equal").fetchall()
        counts = dict(connection.execute("SELECT what, count(*) FROM differences GROUP BY what").fetchall())
        why = connection.execute(
            "SELECT concat(what, ': ', why), count(*) FROM differences GROUP BY 1 ORDER BY 2 DESC, 1"
        ).fetchall()
        shown = connection.sql(
            "FROM differences ORDER BY what, triple_id LIMIT $show", params={"show": show}
        ).to_arrow_table()
        if out is not None:
            rows = connection.sql("FROM differences ORDER BY what, triple_id").to_arrow_reader(snapshot.GROUP_ROWS)
            try:
                snapshot.write_table(rows, DIFFERENCE, out)
            except FileExistsError as error:
                raise SettingsError(f"{out} exists already. Name a new file, or remove it.") from error
    return Differences(
        before=before.name,
        after=after.name,
        same=same,
        came=counts.get("came", 0),
        went=counts.get("went", 0),
        changed=counts.get("changed", 0),
        why=dict(why),
        rows=shown.to_pylist(),
    )


def _open(connection: duckdb.DuckDBPyConnection, before: Snapshot, after: Snapshot) -> None:
    """Make tables `shared` and `differences`."""
    for name, one in (("before", before), ("after", after)):
        for table in ("curated", "dropped"):
            connection.read_parquet(str(one.folder / f"{table}.parquet")).create_view(f"{name}_{table}")
    found: dict[str, list[str]] = {"rule": [], "side": [], "cause": []}
    for side, here, there in (("went", before, after), ("came", after, before)):
        for rule, cause in causes(here, there):
            for key, value in (("rule", rule), ("side", side), ("cause", cause)):
                found[key].append(value)
    connection.register("causes", pa.table({key: pa.array(values, pa.string()) for key, values in found.items()}))
    kinds = {column: kind for kind, columns in KINDS.items() for column in columns}
    changes = ", ".join(
        f"CASE WHEN a.{name} IS DISTINCT FROM b.{name} THEN '{kinds.get(name, name)}: {name}' END"
        for name in CURATED.names
        if name != "triple_id"
    )
    connection.execute(statement("diff.sql").replace("{changes}", changes))


def causes(here: Snapshot, there: Snapshot) -> Iterator[tuple[str, str]]:
    """Yield each rule of `there` with why a row of `here` may be dropped by it and is not dropped `here`."""
    known = {rule["id"].split("@")[0]: rule["id"] for rule in here.manifest["rules"]}
    for rule in there.manifest["rules"]:
        name = rule["id"].split("@")[0]
        if name not in known:
            cause = f"only one of the snapshots has the rule {rule['id']}"
        elif known[name] != rule["id"]:
            cause = f"the rule is another version: {known[name]} where it stays, {rule['id']} where it does not"
        elif changed := _settings(here, there, name):
            cause = f"{rule['id']} has other settings: {changed}"
        else:
            cause = f"{rule['id']} judges other triples or votes"
        yield rule["id"], cause


SECTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "near_duplicate": ("near_duplicates",),
    "contradiction_minority": ("contradictions",),
    "contradiction_tied": ("contradictions",),
    "preference_cycle": ("contradictions",),
    "bridges_splits": ("near_duplicates", "split"),
    "evaluation_overlap": ("decontamination", "evaluation_sets"),
    "over_cap": ("balance",),
    "balanced_out": ("balance",),
    "too_many_tokens": ("tokens",),
}
"""Reason -> the parts of a recipe that decide it, beside its own parameters."""


def _settings(here: Snapshot, there: Snapshot, name: str) -> str:
    """Say which settings of a rule differ: "max_chars 100, 32768 there"."""
    pairs = []
    for side in (here, there):
        found = dict(side.settings["recipe"].get("params", {}).get(name, {}))
        own = {rule["name"]: rule for rule in side.settings["recipe"].get("own_rules", ())}
        if rule := own.get(name):
            columns = side.settings["recipe"].get("own_columns", ())
            found |= rule | {f"column {one['name']}": one for one in columns if one["name"] in rule["drop_if"]}
        whole = side.settings["recipe"] | {"evaluation_sets": side.settings["evaluation_sets"]}
        for section in SECTIONS.get(name, ()):
            part = whole.get(section)
            found |= part if isinstance(part, dict) else {section: part}
        pairs.append(found)
    mine, theirs = pairs
    differing = [key for key in sorted(mine.keys() | theirs.keys()) if mine.get(key) != theirs.get(key)]
    return ", ".join(differing)
