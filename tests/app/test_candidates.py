"""Loading candidates.parquet into the queue."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from app.candidates import Loaded, latest, load
from app.store import Store
from app.tables import PAIR, SLOT
from app.voting import Desk
from ingest.errors import ContractError
from ingest.schema import CANDIDATE
from ingest.settings import Labels, Settings
from tests.app.conftest import candidate, write_candidates


def test_loading_twice_changes_nothing(store: Store, tmp_path: Path) -> None:
    file = write_candidates(tmp_path / "c.parquet", [candidate(n) for n in range(4)])
    assert load(store, file, k=2) == Loaded(pairs=4, new=4, moved=0, slots=8)
    again = load(store, file, k=2)
    assert again == Loaded(pairs=4, new=0, moved=0, slots=0)
    assert again.unchanged == 4


def test_a_newer_file_adds_pairs_and_moves_priorities(store: Store, tmp_path: Path) -> None:
    """Pair 1 is leased when pair 0 overtakes it; pair 2 is new; nothing that was there goes away."""
    load(store, write_candidates(tmp_path / "1.parquet", [candidate(0, priority=1), candidate(1, priority=2)]), k=1)
    ada, bob = (Desk(store, name, Labels()) for name in ("ada", "bob"))
    held = ada.next()
    assert held and held.pair_id == candidate(1)["pair_id"]
    newer = write_candidates(tmp_path / "2.parquet", [candidate(0, priority=9), candidate(2, priority=5)])
    assert load(store, newer, k=1) == Loaded(pairs=2, new=1, moved=1, slots=1)
    first, same = bob.next(), ada.next()
    assert first and first.pair_id == candidate(0)["pair_id"]
    assert same and same.pair_id == held.pair_id
    with store.reading() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(PAIR)).scalar_one() == 3


def test_more_annotators_per_pair_open_more_slots(store: Store, tmp_path: Path) -> None:
    file = write_candidates(tmp_path / "c.parquet", [candidate(n) for n in range(3)])
    load(store, file, k=1)
    assert load(store, file, k=3) == Loaded(pairs=3, new=0, moved=0, slots=6)
    with store.reading() as connection:
        numbers = connection.execute(sa.select(SLOT.c.slot).where(SLOT.c.pair_id == candidate(0)["pair_id"])).scalars()
        assert sorted(numbers) == [0, 1, 2]


def test_text_arrives_character_by_character(store: Store, tmp_path: Path) -> None:
    """PostgreSQL's text cannot hold NUL; a log can."""
    text = "NUL \x00 tab \t CRLF \r\n quote ' \" \\ emoji 🧪 שלום \u2028 end"
    row = candidate(0, a=text)
    load(store, write_candidates(tmp_path / "c.parquet", [row]), k=1)
    showing = Desk(store, "ada", Labels()).next()
    assert showing and text in {showing.left[0]["content"], showing.right[0]["content"]}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        pytest.param("missing-column", "columns priority are not", id="missing-column"),
        pytest.param("extra-column", "columns model are not", id="extra-column"),
        pytest.param("other-type", "columns priority are not", id="other-type"),
        pytest.param("null", "1 pairs have no interaction_a", id="null"),
        pytest.param("not-parquet", "not a readable Parquet file", id="not-parquet"),
    ],
)
def test_a_file_that_breaks_the_contract_loads_nothing(store: Store, tmp_path: Path, name: str, says: str) -> None:
    """An extra column is refused too: a model name must not get near the page."""
    table = pa.Table.from_pylist([candidate(0), candidate(1)], schema=CANDIDATE)
    changed = {
        "missing-column": table.drop_columns(["priority"]),
        "extra-column": table.append_column("model", pa.array(["m1", "m2"])),
        "other-type": table.set_column(8, "priority", table["priority"].cast(pa.float32())),
        "null": table.set_column(4, "interaction_a", pa.array([None, "b2:1"], pa.string())),
    }
    file = tmp_path / "c.parquet"
    if name in changed:
        pq.write_table(changed[name], file)
    else:
        file.write_bytes(b"PAR1 but no more")
    with pytest.raises(ContractError, match=says):
        load(store, file, k=1)
    with store.reading() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(PAIR)).scalar_one() == 0


def test_latest_is_the_snapshot_that_is_published_now(tmp_path: Path) -> None:
    settings = Settings(curated=tmp_path)
    assert latest(settings) is None
    for snapshot in ("aaa", "bbb"):
        write_candidates(tmp_path / snapshot / "candidates.parquet", [candidate(0)])
        (tmp_path / "latest").unlink(missing_ok=True)
        (tmp_path / "latest").symlink_to(snapshot)
        assert latest(settings) == (tmp_path / snapshot / "candidates.parquet").resolve()
