"""Finds names of people and places by Presidio, with the spaCy pipeline that winnow.toml names.

Needs `pip install winnow[names]`, and is imported only where `names = true`. Nothing is downloaded and no
host is asked: the pipeline is loaded before Presidio sees it, and of Presidio's recognizers only the one that reads the
pipeline's entities is used.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ingest.errors import SettingsError

try:
    import spacy
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine
    from presidio_analyzer.predefined_recognizers import SpacyRecognizer
except ImportError as error:
    raise SettingsError(
        f"redaction.names = true needs Presidio, and it cannot be imported: {error}. Run `pip install winnow[names]`, "
        "or set names = false."
    ) from error

KINDS: Final = {"PERSON": "NAME", "LOCATION": "LOCATION"}
"""Presidio's entity -> kind."""
LABELS: Final = {
    **dict.fromkeys(("PERSON", "PER", "PATIENT", "STAFF"), "PERSON"),
    **dict.fromkeys(("LOCATION", "LOC", "GPE", "FAC", "ADDRESS", "STREET"), "LOCATION"),
}
"""Label of a pipeline -> Presidio's entity; FAC are buildings and roads. Other labels are ignored."""
PIECE: Final = 50_000
"""Characters that the pipeline is given at once: it needs 1 GB for 100,000, and refuses more than a million."""


class Names:
    """A pipeline that is loaded."""

    def __init__(self, model: str) -> None:
        """Load a pipeline's folder or package. Raises SettingsError where it is neither, or has no entities."""
        if not (Path(model).is_dir() or spacy.util.is_package(model)):
            raise SettingsError(
                f"redaction.names_model is {model!r}, which is neither a folder nor an installed package. "
                "Install a spaCy pipeline, or name the folder of one; nothing is downloaded."
            )
        try:
            pipeline = spacy.load(model)
        except (OSError, ValueError, ImportError) as error:
            raise SettingsError(
                f"redaction.names_model {model!r} cannot be loaded: {error}. Expected is a spaCy pipeline "
                f"that fits spaCy {spacy.__version__}."
            ) from error
        if not any("ents" in " ".join(pipeline.get_pipe_meta(name).assigns) for name in pipeline.pipe_names):
            raise SettingsError(
                f"The pipeline {model!r} marks no entities (it has: {', '.join(pipeline.pipe_names) or 'nothing'}). "
                'Name one with "ner" or "entity_ruler".'
            )
        self._language = pipeline.lang
        others = {label for labels in pipeline.pipe_labels.values() for label in labels} - LABELS.keys()
        engine = SpacyNlpEngine(
            models=[{"lang_code": pipeline.lang, "model_name": model}],
            ner_model_configuration=NerModelConfiguration(
                model_to_presidio_entity_mapping=LABELS, labels_to_ignore=sorted(others)
            ),
        )
        engine.nlp = {pipeline.lang: pipeline}
        entities = SpacyRecognizer(supported_language=pipeline.lang, supported_entities=list(KINDS))
        registry = RecognizerRegistry(recognizers=[entities], supported_languages=[pipeline.lang])
        self._analyzer = AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=[pipeline.lang])

    def find(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Yield (start, end, kind) of names of people and places, in order."""
        for begin, end in pieces(text):
            found = self._analyzer.analyze(text=text[begin:end], language=self._language, entities=list(KINDS))
            for one in sorted(found, key=lambda one: (one.start, one.end)):
                yield begin + one.start, begin + one.end, KINDS[one.entity_type]


def pieces(text: str) -> Iterator[tuple[int, int]]:
    """Yield where pieces of at most PIECE characters begin and end: at a line's end if they can, else at a space."""
    begin = 0
    while len(text) - begin > PIECE:
        at = text.rfind("\n", begin, begin + PIECE)
        if at < 0:
            at = text.rfind(" ", begin, begin + PIECE)
        end = at + 1 if at >= 0 else begin + PIECE
        yield begin, end
        begin = end
    if begin < len(text):
        yield begin, len(text)
