"""Typed settings of a workspace, read from winnow.toml.

A relative path in the file is relative to the file's own folder, so that a workspace can be moved. An unknown key is
an error. Without a file, `load` gives the defaults below, relative to the working directory.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ingest import globs, settings_file
from ingest.errors import SettingsError
from ingest.settings_file import under

REGIONS: Final = (
    *("US", "GB", "IE", "DE", "AT", "CH", "FR", "BE", "NL", "LU", "IT", "ES", "PT", "SE", "NO", "DK", "FI", "PL"),
    *("CZ", "HU", "RO", "GR", "TR", "UA", "IL", "ZA", "NG", "KE", "EG", "IN", "PK", "CN", "JP", "KR", "TW", "SG"),
    *("MY", "TH", "VN", "ID", "PH", "AU", "NZ", "BR", "AR", "MX", "CL", "CO"),
)
"""Whose phone numbers are known, by default, as people write them at home."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Strict):
    """Log files of one deployment, or one preference data set."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    """Part of every id made from this source: never rename it."""
    path: str
    """Glob, `**` allowed."""
    format: str = "auto"
    """A reader's name, or "auto": each record goes to the first reader that knows it."""
    consent: str | None = None
    """Consent of records that do not state one themselves; leave unset for logs of users."""


class Consent(_Strict):
    """Who may be trained on."""

    allow: tuple[str, ...] = ("training",)
    """Values of a record's consent that allow training; every other value, and none, excludes it. "training" allows
    "training@" with any version of a policy, "training@2026-03" that version alone."""
    withdrawn_by: tuple[str, ...] = ("none", "")
    """Values by which a user takes back what they allowed earlier; [] where each record stands for itself alone."""


class Redaction(_Strict):
    """What is replaced before anything is stored, beyond what always is (docs/privacy.md)."""

    regions: tuple[Annotated[str, Field(pattern=r"^[A-Z]{2}$")], ...] = REGIONS
    """Whose phone numbers are found without their country's code."""
    names: bool = False
    """Whether Presidio finds names of people and places, too, with `names_model`; needs `pip install winnow[names]`."""
    names_model: str | None = None
    """A spaCy pipeline with named entities: its folder, or the name of its package. Nothing is ever downloaded."""

    @model_validator(mode="after")
    def _complete(self) -> "Redaction":
        if self.names and not self.names_model:
            raise ValueError("names = true needs names_model, a spaCy pipeline's folder or package")
        if self.names_model and not self.names:
            raise ValueError("names_model has no effect without names = true")
        return self


class Limits(_Strict):
    """What one record and one commit may hold."""

    line_bytes: Annotated[int, Field(gt=0)] = 64 * 1024 * 1024
    """A longer line is quarantined without being held in memory."""
    commit_bytes: Annotated[int, Field(gt=0)] = 64 * 1024 * 1024
    """Log bytes that are read between two commits to the lake."""
    workers: Annotated[int, Field(ge=1)] = 1
    """Processes that read a file of lines of which 64 MB or more are new; smaller ones are read by the run alone.
    More than one costs more CPU, and saves time only where cores are free."""
    settle_seconds: Annotated[int, Field(ge=0)] = 3600
    """A file that has not changed for so long will not grow: its torn last line is quarantined instead of awaited."""
    quarantine_share: Annotated[float, Field(ge=0, le=1)] | None = None
    """A run that puts a larger share of its records into quarantine ends with exit code 12; unset: no share does."""
    quarantine_lines: Annotated[int, Field(ge=0)] | None = None
    """A run that puts more lines into quarantine ends with exit code 12; unset: no number does."""


class PairingPolicy(_Strict):
    """What it takes to make a triple of feedback; docs/signals.md says what each key is for."""

    rating_margin: Annotated[float, Field(gt=0, le=1)] = 0.25
    """Two ratings of one rater make a pair when they are this share of their scale apart: one star of one to five."""
    rank_distance: Annotated[int, Field(ge=1)] = 1
    """A response is preferred over those that many places below it, and further."""
    per_prompt: Annotated[int, Field(ge=1)] = 50
    """Pairs of responses that one rule makes triples of, for one prompt."""
    per_user: Annotated[int, Field(ge=1)] = 2000
    """Events of one user that count; annotators, models and code are not limited."""
    weights: Mapping[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = {}
    """Rule -> weight of its triples; 1 where it is not named."""
    orphan_days: Annotated[int, Field(ge=0)] = 7
    """Feedback that has waited so long for its response is reported as overdue."""
    burst_votes: Annotated[int, Field(ge=2)] = 10
    burst_seconds: Annotated[int, Field(ge=1)] = 10
    """So many votes of one rater within so many seconds are marked "burst"."""
    same_instant_votes: Annotated[int, Field(ge=2)] = 3
    """So many votes of one rater at the same microsecond are marked "same_instant"."""
    one_model_votes: Annotated[int, Field(ge=2)] = 30
    """A rater who prefers one model in all of at least so many comparisons with others is marked "one_model"."""
    rater_share: Annotated[float, Field(gt=0, le=1)] = 0.2
    rater_share_votes: Annotated[int, Field(ge=1)] = 100
    """A user with more than this share of a source's votes, of which there are at least so many, is marked
    "rater_share"."""


class Roles(_Strict):
    """Who may see which screens: names as typed, or as the identity provider states them."""

    annotator: tuple[str, ...] = ()
    """Label."""
    adjudicator: tuple[str, ...] = ()
    """Review pairs on which annotators disagree, and see what was said on them afterwards."""
    admin: tuple[str, ...] = ()
    """See the team, the queue and training runs; mark gold items."""


class Labels(_Strict):
    """The labelling app's store and what annotators are shown."""

    url: str = "sqlite:///data/labels.db"
    """SQLAlchemy URL; a relative SQLite path is relative to the settings file."""
    annotators_per_pair: Annotated[int, Field(ge=1)] = 1
    annotators_on_disagreement: Annotated[int, Field(ge=2)] | None = None
    """How many people at most judge a pair on which those before them disagree; unset: no more than on any other."""
    lease_seconds: Annotated[int, Field(ge=10)] = 600
    seed: int = 0
    """Of the hash that decides which response stands left."""
    gold_share: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Share of an annotator's verdicts that are on gold items and attention checks, whose answers are known."""
    repeat_share: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Share of them that are on a pair the annotator judged before, sides swapped."""
    repeat_distance: Annotated[int, Field(ge=1)] = 20
    """Verdicts between the two, at least."""
    file: Path | None = None
    """TOML file that says what annotators are asked (`app.task`); unset: the scale of seven, and nothing besides."""

    sign_in: Literal["name", "oidc"] = "name"
    """"name": everybody types a name, and the server listens on this machine only; "oidc": [auth] of secrets.toml."""
    roles: Roles | None = None
    """Unset: whoever is at this machine has every role. With sign_in = "oidc" it must be set."""

    @model_validator(mode="after")
    def _roles_of_strangers(self) -> "Labels":
        if self.sign_in == "oidc" and self.roles is None:
            raise ValueError('sign_in = "oidc" needs [labels.roles]: whoever is not named there may do nothing')
        return self

    @model_validator(mode="after")
    def _more_on_disagreement(self) -> "Labels":
        most = self.annotators_on_disagreement
        if most is not None and not most > self.annotators_per_pair > 1:
            raise ValueError(
                "annotators_on_disagreement has no effect unless more than annotators_per_pair, which is 2 or more then"
            )
        return self


class Gaps(_Strict):
    """What `python -m ingest status` calls a gap (docs/completeness.md)."""

    odds: Annotated[float, Field(gt=1)] = 100_000.0
    """A silence is a gap where its chance, in the source's usual week, is one in so many or less."""
    quiet_factor: Annotated[float, Field(gt=0)] = 3.0
    """A source is quiet only after so many of its longest usual silences."""
    days: Annotated[int, Field(ge=3)] = 84
    """Days before the newest row that are looked at, and that say what is usual."""
    orphan_hours: Annotated[int, Field(ge=0)] = 24
    """So long, once read, feedback may wait for its response, and a prompt for its earlier turns."""


class Train(_Strict):
    """Defaults of `python -m train.dpo`."""

    model: Path | None = None
    """Hugging Face model directory of the deployed model; used when --model is not given."""
    output: Path = Path("runs")
    """Folder that holds one folder per run."""


class Settings(_Strict):
    """A workspace."""

    root: Path = Path()
    """Folder of the settings file; not a key of it."""
    digest: str = ""
    """Hash of the settings file and its folder, "" without one; not a key of it."""
    lake: Path = Path(settings_file.DEFAULT_LAKE)
    curated: Path = Path("data/curated")
    pseudonym_key: Path = Path("pseudonym.key")
    """File with the secret that turns user ids into pseudonyms; made with mode 0600 if absent. Keep it off the lake."""
    sources: tuple[Source, ...] = (Source(name="raw", path="data/raw/**/*"),)
    consent: Consent = Consent()
    redaction: Redaction = Redaction()
    limits: Limits = Limits()
    pairing: PairingPolicy = PairingPolicy()
    labels: Labels = Labels()
    gaps: Gaps = Gaps()
    train: Train = Train()

    @property
    def subjects(self) -> Path:
        """The ledger of erased users (`ingest.subjects`), beside the key without which it means nothing."""
        return self.pseudonym_key.with_name("subjects.jsonl")


def load(path: Path | None = None) -> Settings:
    """Read the settings: of `path`, else of $WINNOW_CONFIG, else of ./winnow.toml, else the defaults.

    Raises SettingsError when a named file is absent, is not TOML, or has a wrong or unknown key.
    """
    file = settings_file.locate(path)
    if file is None:
        return _rooted({}, Path.cwd(), "")
    try:
        content = file.read_bytes()
        values = tomllib.loads(content.decode())
    except OSError as error:
        raise SettingsError(f"Cannot read {file}: {error.strerror}. Make it readable, or name another.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not TOML: {error}.") from error
    for name in ("root", "digest"):
        if name in values:
            raise SettingsError(f"{file} sets `{name}`, which follows from the file itself. Remove the key.")
    root = file.resolve().parent
    try:
        return _rooted(values, root, settings_file.digest(root, content))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise SettingsError(f"{file} is wrong: {problems}.") from error


def forced(settings: Settings, format_name: str | None, source: str | None) -> Settings:
    """Return the settings with the reader that the command line names for `source`, or for the only one there is.

    Raises SettingsError for a source or a reader that there is not, and where it is open which source is meant.
    """
    if format_name is None:
        return settings
    names = sorted(each.name for each in settings.sources)
    if source is None and len(names) > 1:
        raise SettingsError(f"Whose format is {format_name}? Name the source with --source: {', '.join(names)}.")
    if source is not None and source not in names:
        raise SettingsError(f'No source is named "{source}". There are: {", ".join(names)}.')
    if format_name != "auto":
        from ingest.readers import registry  # here: a run with nothing new does without

        registry.get(format_name)
    changed = {"format": format_name}
    sources = (each.model_copy(update=changed) if source in (None, each.name) else each for each in settings.sources)
    return settings.model_copy(update={"sources": tuple(sources)})


def _rooted(values: dict[str, object], root: Path, digest: str) -> Settings:
    """Validate `values` and make every path absolute."""
    raw = Settings.model_validate(values)
    names = [source.name for source in raw.sources]
    if len(set(names)) != len(names):
        raise SettingsError(f"Two sources have one name: {sorted(names)}. Ids are made from it; give each its own.")
    model = under(root, raw.train.model) if raw.train.model else None
    train = raw.train.model_copy(update={"model": model, "output": under(root, raw.train.output)})
    rooted = raw.model_copy(
        update={
            "root": root,
            "digest": digest,
            "lake": under(root, raw.lake),
            "curated": under(root, raw.curated),
            "pseudonym_key": under(root, raw.pseudonym_key),
            "sources": tuple(s.model_copy(update={"path": str(under(root, s.path))}) for s in raw.sources),
            "redaction": _rooted_model(raw.redaction, root),
            "labels": raw.labels.model_copy(
                update={
                    "url": _rooted_url(raw.labels.url, root),
                    "file": under(root, raw.labels.file) if raw.labels.file else None,
                }
            ),
            "train": train,
        }
    )
    _check_globs(rooted)
    return rooted


def _check_globs(settings: Settings) -> None:
    """Raise SettingsError where a source would read what Winnow writes: each run would find new "logs" of the last."""
    store = settings.labels.url.removeprefix("sqlite:///")
    written = {
        "lake": [settings.lake / "files" / name for name in ("part-0.parquet", "_delta_log/0.json")],
        "pseudonym_key": [settings.pseudonym_key],
        "pseudonym_key, beside which the ledger is": [settings.subjects],
        "curated": [settings.curated / "0" / name for name in ("curated.parquet", "manifest.json")],
        "labels.url": [Path(store)] if store != settings.labels.url else [],
    }
    for source in settings.sources:
        for key, paths in written.items():
            if any(globs.matches(source.path, path) for path in paths):
                raise SettingsError(
                    f'The source "{source.name}" reads {source.path}, where Winnow itself writes ({key}). '
                    "Narrow the path, or choose another place for what is written."
                )


def _rooted_model(redaction: Redaction, root: Path) -> Redaction:
    """Make the path of a spaCy pipeline absolute; a package's name stays."""
    folder = under(root, Path(redaction.names_model)) if redaction.names_model else None
    return redaction.model_copy(update={"names_model": str(folder)}) if folder and folder.exists() else redaction


def _rooted_url(url: str, root: Path) -> str:
    """Make the path of a relative SQLite URL absolute: `sqlite:///a.db` -> `sqlite:////root/a.db`."""
    prefix: Final = "sqlite:///"
    if not url.startswith(prefix) or url == prefix or url.startswith(prefix + ":memory:"):
        return url
    return prefix + str(under(root, url.removeprefix(prefix)))
