"""The statements and migrations of the indexer, as files."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

from headwater.errors import InvariantError
from indexer.migrate import Migration, migrations
from indexer.statements import SQL, load_statements, together

SOURCE = Path(str(files("indexer")))

KNOWN = {
    *(f"app.bsky.actor.{name}" for name in ("profile", "status", "contentVisibilityDeclaration")),
    *(f"app.bsky.feed.{name}" for name in ("post", "like", "repost", "generator", "threadgate", "postgate")),
    *(f"app.bsky.graph.{name}" for name in ("follow", "block", "list", "listitem", "listblock")),
    *(f"app.bsky.graph.{name}" for name in ("starterpack", "verification")),
    "app.bsky.labeler.service",
    "app.bsky.notification.declaration",
    "chat.bsky.actor.declaration",
    "com.atproto.lexicon.schema",
    "com.germnetwork.declaration",
    *(f"site.standard.{name}" for name in ("document", "publication", "graph.recommend", "graph.subscription")),
    "site.standard.theme.basic",
}


def collection_files() -> dict[str, str]:
    return {path.name.removesuffix(".sql"): path.read_text() for path in (SOURCE / "collections").glob("*.sql")}


def view_of(nsid: str) -> str:
    """The naming rule: the last segment for what people make on Bluesky, the last two for all else, in snake case."""
    segments = nsid.split(".")
    kept = segments[-1:] if nsid.startswith(("app.bsky.actor.", "app.bsky.feed.", "app.bsky.graph.")) else segments[-2:]
    return "_".join(re.sub(r"(?<=[a-z])([A-Z])", r"_\1", segment).lower() for segment in kept)


def test_every_statement_is_used_and_every_use_has_its_statement() -> None:
    code = "\n".join(path.read_text() for path in SOURCE.glob("*.py"))
    for name in SQL:
        assert f'"{name}"' in code, f"sql/{name}.sql is not used"
    for name in re.findall(r'SQL\["(\w+)"\]', code):
        assert name in SQL


def test_few_rows_are_merged_by_the_rules_of_many() -> None:
    """One rule in two statements, which differ in where the rows come from."""
    few, many = (SQL[name].partition("WHERE NOT EXISTS")[2] for name in ("merge_few", "merge_staged"))
    assert few == many != ""


def test_statements_together_keep_their_parameters_apart() -> None:
    statements = {
        "one": "-- One: $1 and $2.\nDELETE FROM a WHERE b = $1 AND c = $2;",
        "two": "-- Two.\nDELETE FROM d WHERE e = $1;",
        "many": "UPDATE f SET g = $10, h = $1;",
    }
    text = together(statements, "one", "two", "many")
    assert "DELETE FROM a WHERE b = $1 AND c = $2" in text
    assert "DELETE FROM d WHERE e = $3" in text
    assert "UPDATE f SET g = $13, h = $4;" in text
    assert text.startswith("WITH one AS (")
    assert text.count(";") == 1


def test_a_statement_without_a_comment_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bare.sql").write_text("SELECT 1;")
    with pytest.raises(InvariantError, match="comment"):
        load_statements(tmp_path)


def test_a_file_without_a_statement_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.sql").write_text("-- Nothing.\n-- Really.")
    with pytest.raises(InvariantError, match="no statement"):
        load_statements(tmp_path)


def test_only_sql_files_are_statements(tmp_path: Path) -> None:
    (tmp_path / "one.sql").write_text("-- One.\nSELECT 1;")
    (tmp_path / "notes.txt").write_text("nothing")
    assert dict(load_statements(tmp_path)) == {"one": "-- One.\nSELECT 1;"}


def test_migrations_come_before_collections_in_order() -> None:
    names = [migration.name for migration in migrations()]
    numbered = [name for name in names if name.startswith("migrations/")]
    assert names[: len(numbered)] == sorted(numbered)
    assert [name.partition("/")[2][:4] for name in numbered] == [f"{n:04d}" for n in range(1, len(numbered) + 1)]


def test_a_changed_text_has_another_checksum() -> None:
    assert Migration("a", "SELECT 1").checksum != Migration("a", "SELECT 2").checksum


def test_every_known_collection_has_its_file() -> None:
    assert set(collection_files()) == KNOWN


@pytest.mark.parametrize("nsid", sorted(KNOWN))
def test_a_collection_file_follows_the_naming_rule(nsid: str) -> None:
    text, view = collection_files()[nsid], view_of(nsid)
    assert f"CALL create_record_partition('record_{view}', '{nsid}');" in text
    assert f'CREATE VIEW "{view}" AS' in text
    assert f"'/{nsid}/'" in text
    assert text.startswith(f"-- {nsid}: ")
