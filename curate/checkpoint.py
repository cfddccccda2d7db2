"""Great Expectations runs the gate: suites over one row of numbers each, by one checkpoint, in memory.

Imported by `curate.expectations` when a gate runs and not before: the import costs seconds. Analytics are off, nothing
is stored but the Data Docs in the folder that is named, and no connection is opened.
"""

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from curate.expectations import Expectation

os.environ["GX_ANALYTICS_ENABLED"] = "False"
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own use of deprecated modules is not our user's concern
    import great_expectations as gx
    import pandas as pd
    from great_expectations.checkpoint.actions import UpdateDataDocsAction
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types import base
    from great_expectations.expectations.core.expect_column_max_to_be_between import ExpectColumnMaxToBeBetween
logging.getLogger("great_expectations").setLevel(logging.WARNING)

Metrics = Mapping[str, float | None]


class ExpectMetricToBeWithin(ExpectColumnMaxToBeBetween):
    """One number of a data set is within bounds."""


class ExpectLengthBiasToBeWithin(ExpectMetricToBeWithin):
    """The chosen response is the longer one about as often as the shorter one."""


class ExpectNoPromptGroupInTwoSplits(ExpectMetricToBeWithin):
    """What a model is tested on shares no prompt group with what it is trained on."""


class ExpectAgreementToBeAtLeast(ExpectMetricToBeWithin):
    """Of all votes on the pairs, so many prefer the chosen response."""


class ExpectNoEvaluationItemInside(ExpectMetricToBeWithin):
    """No triple holds an item of an evaluation set that the recipe names."""


PREFERENCE: Final = {
    "chosen_longer": ExpectLengthBiasToBeWithin,
    "groups_in_two_splits": ExpectNoPromptGroupInTwoSplits,
    "agreement": ExpectAgreementToBeAtLeast,
    "evaluation_items_inside": ExpectNoEvaluationItemInside,
}
"""Metric -> the expectation that is made for preference data."""


def run(suites: Mapping[str, tuple[Metrics, Sequence["Expectation"]]], docs: Path | None) -> dict[str, list[bool]]:
    """Judge each suite's row of metrics; write Data Docs into `docs`, where it is one. Returns suite -> verdicts."""
    context = _context(docs)
    source = context.data_sources.add_pandas("duckdb")
    verdicts = {}
    for name, (metrics, expected) in suites.items():
        rows = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("metrics")
        suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=[*map(_expectation, expected)]))
        validation = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=rows, suite=suite))
        checkpoint = gx.Checkpoint(
            name=name,
            validation_definitions=[validation],
            actions=[UpdateDataDocsAction(name="pages", site_names=["gate"])] if docs else [],
        )
        # Not the time of the run: the same data set gives the same pages.
        when = RunIdentifier(run_name="gate", run_time=datetime(2000, 1, 1, tzinfo=UTC))
        found = checkpoint.run(batch_parameters={"dataframe": pd.DataFrame([dict(metrics)])}, run_id=when)
        (result,) = found.run_results.values()
        ordered = sorted(result.results, key=_place)
        verdicts[name] = [bool(one.success) for one in ordered]
    return verdicts


def _place(result: Any) -> int:
    return int(result.expectation_config.meta["place"])


def _expectation(expected: "Expectation") -> Any:
    """Return one of Great Expectations' own, with meta that names the rule and says what to do."""
    kind = PREFERENCE.get(expected.metric, ExpectMetricToBeWithin)
    return kind(
        column=expected.metric,
        min_value=expected.low,
        max_value=expected.high,
        description=f"Expected {expected.bounds}. {expected.advice}",
        meta={"place": expected.place, "rule": expected.rule, "advice": expected.advice},
    )


def _context(docs: Path | None) -> Any:
    """Return a context that keeps everything in memory, but for the Data Docs."""
    in_memory = base.DataContextConfig(
        store_backend_defaults=base.InMemoryStoreBackendDefaults(),  # or it makes a folder of its own
        analytics_enabled=False,
    )
    context = gx.get_context(mode="ephemeral", project_config=in_memory)
    context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
    if docs is None:
        return context
    backend = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs)}
    index = {"class_name": "DefaultSiteIndexBuilder"}
    context.add_data_docs_site(
        "gate", {"class_name": "SiteBuilder", "store_backend": backend, "site_index_builder": index}
    )
    return context
