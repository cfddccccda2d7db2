"""Recipes: typed, whole, and an error where a key would have no effect."""

import re
import tomllib
from pathlib import Path

import pytest

from curate import recipe as recipes
from curate.recipe import Recipe
from ingest.errors import RecipeError


def test_the_shipped_recipe_states_the_defaults(repository: Path) -> None:
    assert recipes.load().resolved_rules(("x",)) == Recipe().resolved_rules(("x",))
    shipped = tomllib.loads((repository / "curate" / "default_recipe.toml").read_text(encoding="utf-8"))
    defaults = Recipe().model_dump(mode="json", exclude={"params", "tokens"})
    assert {key: value for key, value in shipped.items() if key != "params"} == defaults


def test_a_recipe_states_only_what_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[params.too_long]\nmax_chars = 9\n[split]\nseed = 4\n", encoding="utf-8")
    mine = recipes.load(path)
    assert mine.split == recipes.Split(seed=4)
    params = {rule.name: dict(rule.params) for rule in mine.resolved_rules(("training", "research"))}
    assert params["too_long"] == {"max_chars": 9}
    assert params["missing_consent"] == {"consent_allow": ("training", "research")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour = 1", "colour: Extra inputs are not permitted"),
        ("[split]\nseeds = 1", "split.seeds: Extra inputs"),
        ("rules = ['tidy']", "no rule is called tidy; there are empty_side, "),
        ("rules = ['too_long', 'too_long']", "listed twice"),
        ("rules = ['empty_side']\n[params.too_long]\nmax_chars = 1", "params.too_long has no effect"),
        ("[params.tidy]\nx = 1", "no rule is called tidy"),
        ("[params.too_long]\nmin_chars = 1", "too_long has no parameter min_chars; it has max_chars"),
        ("[params.too_long]\nmax_chars = 'many'", "too_long.max_chars is 'many', expected something like 32768"),
        ("[params.empty_side]\nx = 1", "it has none"),
        ("[params.missing_consent]\nconsent_allow = ['all']", "is set in winnow.toml"),
        ("[split]\nvalidation = 0.5\ntest = 0.5", "must be below 1"),
        ("[gate]\nmin_rows = 0", "gate.min_rows: Input should be greater than or equal to 1"),
        ("rules = [", "is not TOML"),
        ('[[own_rules]]\nname = "a"\nversion = 1\nreason = "r"\ndrop_if = "true; DROP"', "is no expression"),
        ('[[own_rules]]\nname = "too_long"\nversion = 1\nreason = "r"\ndrop_if = "true"', "is a rule of Winnow"),
    ],
    ids=lambda value: re.sub(r"\W+", " ", value)[:40],
)
def test_wrong_recipe(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match=re.escape(message)):
        recipes.load(path)


def test_absent_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"No recipe can be read from .*absent\.toml"):
        recipes.load(tmp_path / "absent.toml")


def test_documented(repository: Path) -> None:
    page = (repository / "docs" / "curation.md").read_text(encoding="utf-8")
    keys = re.findall(r"^\| `([\w.<>]+)` \| ([^|]*) \|", page.split("## Recipe")[1], re.MULTILINE)
    defaults = {
        key: str(value)
        for key, value in _flat(Recipe().model_dump(exclude={"rules", "params", "own_columns", "own_rules", "tokens"}))
    }
    assert dict(keys) == {
        "rules": "all fifteen",
        "params.<rule>.<parameter>": "see row rules",
        **defaults,
        "decontamination.sets": "none",
        "own_columns": "none",
        "own_rules": "none",
        "tokens.folder": "none",
        "tokens.max_tokens": "2048",
        "tokens.message_tokens": "8",
    }


def _flat(values: dict[str, object], above: str = "") -> list[tuple[str, object]]:
    return [
        pair
        for key, value in values.items()
        for pair in (_flat(value, f"{above}{key}.") if isinstance(value, dict) else [(above + key, value)])
    ]
