"""A curation recipe: which rules, with which parameters, how to split, what the gate demands. Read from TOML.

The default recipe is curate/default_recipe.toml; a key that a recipe leaves out has the default value. An unknown key
is an error. docs/curation.md documents every key.
"""

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from curate import expressions
from curate.rules import BY_NAME, RULES, TOO_MANY_TOKENS, Rule, Value
from ingest.errors import RecipeError

Feature = Literal["length", "list", "bold", "markdown", "link", "emoji", "exclamation", "affirmative"]
Column = Literal["source", "model", "signal", "language", "cluster", "user", "annotator", "week"]
Cap = Literal["prompt", "source", "model", "signal", "language", "cluster", "user", "annotator", "week"]
Share = Annotated[float, Field(ge=0, le=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Split(_Strict):
    """Shares of the prompt groups; training gets the rest."""

    seed: int = 0
    """Another seed gives another split; the same one never moves a group."""
    validation: Share = 0.1
    test: Share = 0.1

    @model_validator(mode="after")
    def _leaves_some_for_training(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError("validation + test must be below 1, so that something is left for training")
        return self


class NearDuplicates(_Strict):
    """From which Jaccard similarity of their word triples two texts are near duplicates; at 1 only equals are."""

    questions: Annotated[float, Field(gt=0, le=1)] = 0.7
    """Of prompts without their system messages: such prompts are in one cluster, and never in two splits."""
    triples: Annotated[float, Field(gt=0, le=1)] = 0.7
    """Of question, chosen and rejected, each: of such triples the best one stays."""


class Contradictions(_Strict):
    """When votes on one pair of responses decide it."""

    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.6
    """Where several raters are known: probability of being right from which a side stays; else both are dropped."""
    reliability: str = ""
    """File of `python -m app quality --output`, relative to winnow.toml: what gold items say of raters; empty: none."""
    cycles: Literal["keep", "drop"] = "keep"
    """What becomes of triples in circles of preferences; they are counted and marked either way."""


class Balance(_Strict):
    """What the data set shall be like as a whole; with every mapping empty, nothing is balanced (curate/balance.py)."""

    method: Literal["weights", "rows"] = "weights"
    """How targets are met: rows get weights, or rows are dropped."""
    seed: int = 0
    """Of which rows stay, among those that no target tells apart."""
    tolerance: Annotated[float, Field(ge=0.001, le=0.5)] = 0.01
    """How far from its target a share or mean may end."""
    min_weight: Annotated[float, Field(ge=0, le=1)] = 0.1
    """A row's weight is multiplied by this at least, and by 1 on average."""
    max_weight: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 5.0
    """And by this at most."""
    keep_at_least: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Share of the weight that targets may not drop: where they would, they are refused."""
    caps: Mapping[Cap, Annotated[int, Field(ge=1)]] = {}
    """Column -> triples of one value, at most."""
    chosen_has_more: Mapping[Feature, Share] = {}
    """Feature -> share of triples whose chosen response has more of it, among those whose responses differ in it."""
    means: Mapping[Literal["log_length_ratio"], Annotated[float, Field(allow_inf_nan=False)]] = {}
    """Mean of ln(characters of chosen / characters of rejected)."""
    shares: Mapping[Column, Mapping[str, Share]] = {}
    """Column -> value -> its share of all triples; values that are not named share the rest."""

    @model_validator(mode="after")
    def _shares_can_be_kept(self) -> Self:
        for column, shares in self.shares.items():
            if sum(shares.values()) > 1 + 1e-9:
                raise ValueError(f"the shares of {column} add up to {sum(shares.values()):g}; they may be 1 at most")
        return self


class OwnColumn(_Strict):
    """A column for own rules that a Python function computes (curate/own_columns.py)."""

    name: Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")]
    version: Annotated[int, Field(ge=1)]
    """Raise it whenever the function's values change."""
    function: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
    """As "module:function": Arrow batch of triples -> Arrow array with a value for each."""


class OwnRule(_Strict):
    """A row rule that the recipe itself states."""

    name: Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")]
    version: Annotated[int, Field(ge=1)]
    """Raise it whenever the rule changes."""
    reason: Annotated[str, Field(min_length=1)]
    drop_if: str
    """One SQL expression over a triple's columns and those of curate/features.sql; true drops it."""
    detail: str = "'by a rule of the recipe'"
    """One SQL expression: what was seen, without quoting any user's text."""

    @model_validator(mode="after")
    def _states_expressions(self) -> Self:
        for sql in (self.drop_if, self.detail):
            expressions.check(sql)
        if self.name in BY_NAME:
            raise ValueError(f"{self.name} is a rule of Winnow: give yours another name")
        return self

    def rule(self) -> Rule:
        """Return it as the rules of curate/rules.py are."""
        return Rule(name=self.name, version=self.version, reason=self.reason, drop_if=self.drop_if, detail=self.detail)


class TokenLimit(_Strict):
    """How much the model to be trained can read."""

    folder: str
    """With tokenizer.json; relative to the folder of winnow.toml."""
    max_tokens: Annotated[int, Field(ge=1)] = 2048
    """Of the prompt and the longer response together."""
    message_tokens: Annotated[int, Field(ge=0)] = 8
    """Added for each message: what the chat template puts around it."""


class EvaluationSet(_Strict):
    """A file of what a model is evaluated on."""

    name: Annotated[str, Field(min_length=1)]
    """As findings name it."""
    path: str
    """Parquet; JSON lines, CSV, TSV or text, also .gz; relative to the folder of winnow.toml."""
    fields: tuple[str, ...] = ()
    """Columns of text or lists of text; else the first of `curate.evaluation_sets.FIELDS` that there is."""
    header: bool = True
    """Of a CSV file: its first line names the columns; else they are column0, column1, ..."""


class Decontamination(_Strict):
    """What must not be trained on."""

    sets: tuple[EvaluationSet, ...] = ()
    ngram: Annotated[int, Field(ge=3, le=64)] = 8
    """Words in a row that a text and an item must share to count."""
    coverage: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share of an item's words in such runs above which a triple is dropped; at 0 one run is enough."""
    reworded: Annotated[float, Field(gt=0, le=1)] = 0.7
    """Jaccard similarity of the word triples of question and item from which it is the item, reworded."""

    @model_validator(mode="after")
    def _names_each_set_once(self) -> Self:
        names = [one.name for one in self.sets]
        if len(set(names)) != len(names):
            raise ValueError("two evaluation sets have one name")
        return self


class Gate(_Strict):
    """What a data set must be like to be published."""

    min_rows: Annotated[int, Field(ge=1)] = 20
    """Curated triples, at least."""
    chosen_longer_min: Share = 0.1
    """Share of triples whose chosen response is the longer one, among those whose lengths differ: at least."""
    chosen_longer_max: Share = 0.9
    """The same share, at most."""
    agreement_min: Share = 0.5
    """Of all votes on the curated pairs, the share that prefers the chosen response: at least."""


class Candidates(_Strict):
    """How many undecided pairs are offered to annotators."""

    per_prompt: Annotated[int, Field(ge=1)] = 3
    """Pairs of one prompt, at most."""
    total: Annotated[int, Field(ge=0)] = 2000
    """Pairs in all, at most."""


class Card(_Strict):
    """What the data card of a snapshot says that nothing measures."""

    title: Annotated[str, Field(min_length=1)] = "Preference triples"
    license: Annotated[str, Field(min_length=1)] = "unknown"
    """An identifier as hubs know it: "cc-by-4.0"."""


class Recipe(_Strict):
    """One way to curate."""

    rules: tuple[str, ...] = tuple(rule.name for rule in RULES)
    """Row rules to run; where several drop a triple, the first of them counts."""
    params: Mapping[str, Mapping[str, Value]] = {}
    """Rule -> parameter -> value that replaces the default of curate/rules.py."""
    near_duplicates: NearDuplicates = NearDuplicates()
    own_columns: tuple[OwnColumn, ...] = ()
    """Computed before the rules; own_rules may use them."""
    own_rules: tuple[OwnRule, ...] = ()
    """Run after the others."""
    tokens: TokenLimit | None = None
    """Runs rule too_many_tokens, before the recipe's own."""
    decontamination: Decontamination = Decontamination()
    contradictions: Contradictions = Contradictions()
    split: Split = Split()
    balance: Balance = Balance()
    gate: Gate = Gate()
    candidates: Candidates = Candidates()
    card: Card = Card()

    @model_validator(mode="after")
    def _names_known_rules(self) -> Self:
        unknown = [name for name in (*self.rules, *self.params) if name not in BY_NAME]
        if unknown:
            raise ValueError(f"no rule is called {', '.join(unknown)}; there are {', '.join(BY_NAME)}")
        if len(set(self.rules)) != len(self.rules):
            raise ValueError("a rule is listed twice in `rules`")
        for kind, named in (("own_rules", self.own_rules), ("own_columns", self.own_columns)):
            if len({one.name for one in named}) != len(named):
                raise ValueError(f"two of {kind} have one name")
        for name, params in self.params.items():
            if name not in self.rules:
                raise ValueError(f"params.{name} has no effect: `rules` does not list {name}")
            _check_params(BY_NAME[name], params)
        return self

    def resolved_rules(self, consent_allow: tuple[str, ...]) -> tuple[Rule, ...]:
        """Return the rules to run, in order, with every parameter set; consent comes from winnow.toml."""
        chosen = [BY_NAME[name].with_params(self.params.get(name, {})) for name in self.rules]
        if self.tokens:
            chosen.append(TOO_MANY_TOKENS.with_params({"max_tokens": self.tokens.max_tokens}))
        chosen += [own.rule() for own in self.own_rules]
        return tuple(
            rule.with_params({"consent_allow": consent_allow}) if rule.name == "missing_consent" else rule
            for rule in chosen
        )


def load(path: Path | None = None) -> Recipe:
    """Read the recipe at `path`, else the default one. Raises RecipeError where it is absent or wrong."""
    try:
        if path is None:
            text = files("curate").joinpath("default_recipe.toml").read_text(encoding="utf-8")
        else:
            text = path.read_text(encoding="utf-8")
        return Recipe.model_validate(tomllib.loads(text))
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"No recipe can be read from {path}: {error}. Name an existing TOML file.") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"The recipe {path} is not TOML: {error}.") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'recipe'}: {e['msg']}" for e in error.errors())
        raise RecipeError(f"The recipe {path} is wrong: {problems}. docs/curation.md lists every key.") from error


def _check_params(rule: Rule, params: Mapping[str, Value]) -> None:
    """Raise ValueError for a parameter that the rule does not have, or of another type than its default."""
    if "consent_allow" in params:
        raise ValueError("consent_allow is set in winnow.toml: [consent] allow, for the whole workspace")
    for name, value in params.items():
        if name not in rule.params:
            raise ValueError(f"{rule.name} has no parameter {name}; it has {', '.join(rule.params) or 'none'}")
        if type(value) is not type(rule.params[name]):
            raise ValueError(f"{rule.name}.{name} is {value!r}, expected something like {rule.params[name]!r}")
