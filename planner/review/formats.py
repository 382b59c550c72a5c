"""Rule results for CI: GitHub annotations, JUnit, SARIF."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from xml.etree import ElementTree as Xml

import planner
from planner.plan import Plan
from planner.review.gates import Bought, RuleResult, bought
from planner.review.words import plain

ANNOTATIONS_SHOWN: Final = 10
_LONG: Final = 2000
_INFORMATION: Final = "https://json.schemastore.org/sarif-2.1.0.json"


def render_github(results: Sequence[RuleResult]) -> str:
    """The worst ten as workflow commands; GitHub shows no more of a step."""
    failed = sorted((r for r in results if r.state == "failed"), key=lambda r: not r.is_failure)
    lines = [_annotation(result) for result in failed[:ANNOTATIONS_SHOWN]]
    if len(failed) > ANNOTATIONS_SHOWN:
        lines.append(f"::notice::{len(failed) - ANNOTATIONS_SHOWN} more rules are in the summary")
    return "".join(f"{line}\n" for line in lines)


def _annotation(result: RuleResult) -> str:
    level = "error" if result.is_failure else "warning"
    place = f"file={_property(result.place.file)}"
    if result.place.line:
        place += f",line={result.place.line},col={result.place.col}"
    return f"::{level} {place},title=planner {_property(result.rule)}::{_data(message(result))}"


def message(result: RuleResult) -> str:
    """What is wrong, and who breaks it."""
    text = f"{result.limit} ({result.scope}): {result.now}"
    for offender in result.offenders[:5]:
        text += f"\n{plain(offender.id)}: {plain(offender.detail, _LONG)}"
    return text


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(plain(text)).replace(":", "%3A").replace(",", "%2C")


def render_junit(plans: Mapping[str, Plan], results: Sequence[RuleResult]) -> str:
    """One suite a scenario file with one test a purchase, and one suite for the rules.

    A purchase fails with the error rules that it breaks; one without a price is skipped.
    """
    root = Xml.Element("testsuites", name="planner")
    for stem in plans:
        items = [item for item in bought(plans) if item.scenario == stem]
        cases = [_purchase(item, results) for item in items]
        _suite(root, plans[stem].scenario.file, cases)
    _suite(root, "rules", [_rule(result) for result in results])
    Xml.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + Xml.tostring(root, "unicode") + "\n"


def _suite(root: Xml.Element, name: str, cases: Sequence[Xml.Element]) -> None:
    failures = sum(case.find("failure") is not None for case in cases)
    skipped = sum(case.find("skipped") is not None for case in cases)
    suite = Xml.SubElement(
        root, "testsuite", name=plain(name), tests=str(len(cases)), failures=str(failures),
        errors="0", skipped=str(skipped),
    )  # fmt: skip
    suite.extend(cases)


def _purchase(item: Bought, results: Iterable[RuleResult]) -> Xml.Element:
    case = Xml.Element("testcase", classname=plain(item.scenario), name=plain(item.id))
    broken = [
        (result, offender)
        for result in results
        if result.is_failure
        for offender in result.offenders
        if offender.id == item.id
    ]
    for result, offender in broken:
        text = plain(offender.detail, _LONG)
        Xml.SubElement(case, "failure", message=f"{result.rule}: {text}", type=result.check)
    if not broken and item.choice.outcome == "no-price":
        Xml.SubElement(case, "skipped", message=plain(item.choice.sentence, _LONG))
    return case


def _rule(result: RuleResult) -> Xml.Element:
    name = f"{result.rule} {result.check} ({result.scope})"
    case = Xml.Element("testcase", classname="rules", name=plain(name))
    if result.is_failure:
        text = plain(f"{result.limit}: {result.now}", _LONG)
        Xml.SubElement(case, "failure", message=text, type=result.check).text = message(result)
    elif result.state in ("not-applicable", "waived"):
        Xml.SubElement(case, "skipped", message=plain(f"{result.state}: {result.now}", _LONG))
    elif result.state == "failed":
        Xml.SubElement(case, "system-out").text = f"warning: {message(result)}"
    return case


def render_sarif(results: Sequence[RuleResult]) -> str:
    """SARIF 2.1.0 for code scanning: one result a broken check, waived ones as suppressed."""
    rules = {result.rule: result for result in results}
    log = {
        "$schema": _INFORMATION,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "planner",
                        "version": planner.__version__,
                        "rules": [
                            {
                                "id": rule,
                                "shortDescription": {"text": f"{result.limit} ({result.scope})"},
                                "defaultConfiguration": {"level": _level(result)},
                            }
                            for rule, result in rules.items()
                        ],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [
                    _sarif_result(result)
                    for result in results
                    if result.state in ("failed", "waived")
                ],
            }
        ],
    }
    return json.dumps(log, indent=1, ensure_ascii=False) + "\n"


def _level(result: RuleResult) -> str:
    return "error" if result.level == "error" else "warning"


def _sarif_result(result: RuleResult) -> dict[str, Any]:
    found: dict[str, Any] = {
        "ruleId": result.rule,
        "level": _level(result),
        "message": {"text": message(result)},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": _uri(result.place.file)},
                    "region": {
                        "startLine": max(result.place.line, 1),
                        "startColumn": max(result.place.col, 1),
                    },
                }
            }
        ],
        "partialFingerprints": {"rule/v1": f"{result.rule}/{result.check}/{result.scope}"},
    }
    if result.state == "waived":
        found["suppressions"] = [{"kind": "external", "justification": "; ".join(result.waivers)}]
    return found


def _uri(file: str) -> str:
    from urllib.parse import quote

    return quote(file.replace("\\", "/"))
