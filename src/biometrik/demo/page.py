"""The demo's page: one HTML file that needs nothing from anywhere else, for an officer to read."""

import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from html import escape
from importlib import resources
from pathlib import Path
from typing import Final

from biometrik import __version__, wording
from biometrik.calibration import CalibrationTable
from biometrik.decision import to_score
from biometrik.demo import figures
from biometrik.demo.photographs import SOURCES
from biometrik.demo.steps import Step, Story
from biometrik.demo.story import MAX_FMR, MAX_FPIR
from biometrik.errors import ThresholdUnsupportedError
from biometrik.models import CatalogueRow
from biometrik.types import Decision, Enrollment, EnrollmentOutcome, ErasureCertificate, Identification, Outcome

#: Key prefixes of a chapter's steps, its title, and what it is about.
_CHAPTERS: Final = (
    (
        ("enroll",),
        "Enrolment",
        "A photograph of each person becomes a template under an opaque id; the photograph itself is not kept. Green:"
        " the face as the service found it, yellow: its five landmarks, in the corner: the aligned crop that the"
        " network sees."
        " The bars are the quality's components, the upright marks the least that is acceptable.",
    ),
    (
        ("verify-genuine", "verify-impostor", "verify-few", "verify-no", "verify-too", "verify-beyond"),
        "Verification, 1:1 and 1:few",
        "Is this person who they say they are? Beside each other: the photograph at enrolment, and the person at the"
        " counter.",
    ),
    (
        ("identify-known", "identify-stranger"),
        "Identification, 1:N",
        "Who is this, among everybody enrolled?",
    ),
    (
        ("fingers",),
        "Fingers",
        "Several fingers and the face of one person, any subset of them at the counter. The prints are SYNTHETIC: drawn"
        " by a generator, of nobody.",
    ),
    (
        ("refused", "second", "reopen", "erase", "verify-erased", "identify-erased"),
        "Guarding, keeping and erasing",
        "Nobody does what he may not; what is enrolled lasts; what is erased is gone.",
    ),
)
_KINDS: Final = {
    "MATCH": ("good", "✓"),
    "ENROLLED": ("good", "✓"),
    "ERASED": ("good", "✓"),
    "NO_MATCH": ("stop", "✗"),
    "INCONCLUSIVE": ("wait", "?"),
    "NEEDS_RECAPTURE": ("wait", "↻"),
    "FAILURE_TO_ENROLL": ("wait", "↻"),
}


def render(story: Story, weights: Sequence[CatalogueRow], at: datetime) -> str:
    """Return the page.

    Parameters
    ----------
    story : Story
        What happened.
    weights : sequence of CatalogueRow
        The networks that took part.
    at : datetime
        When.
    """
    body = "".join(
        (
            _head(story, at),
            _overview(story),
            _reading(story.calibration),
            *(_chapter(story, *chapter) for chapter in _CHAPTERS),
            _grounds(story, weights),
        )
    )
    css = (resources.files("biometrik.demo") / "page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>biometrik: the demonstration</title><style>{css}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def write(text: str, folder: Path) -> Path:
    """Write ``index.html`` into a folder, which is created; readers see the old page or the new one, never half.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "index.html"
    handle, name = tempfile.mkstemp(dir=folder, prefix=".index-", suffix=".html")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(page)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
    return page


def _head(story: Story, at: datetime) -> str:
    right = sum(step.passed for step in story.steps)
    kind = "good" if story.passed else "stop"
    failed = ", ".join(step.key for step in story.steps if not step.passed)
    verdict = (
        f"All {len(story.steps)} steps came out as they must."
        if story.passed
        else f"{right} of {len(story.steps)} steps came out as they must; not so: {failed}."
    )
    return (
        "<h1>The main job, on real faces</h1>"
        '<p class="lead">People are enrolled, verified, searched for and erased by a service in a process of its own,'
        " with the models that are installed here, asked over gRPC as a counter would. Every answer on this page was"
        f" computed when it was made: {at:%Y-%m-%d %H:%M} UTC, biometrik {escape(__version__)}, in"
        f" {story.elapsed_s:.1f} s.</p>"
        f'<div class="verdict is-{kind}">{"✓" if story.passed else "✗"} <span>{escape(verdict)}</span></div>'
        f"{_log(story)}"
        '<p class="soft lead">Only one photograph of each person is at hand. The frame at the counter is therefore a'
        " <em>re-photographed copy</em> of it: other scale, angle, light, sharpness and compression. That is easier"
        " than another photograph on another day, so the genuine scores here say nothing about accuracy.</p>"
    )


def _log(story: Story) -> str:
    return f"<p>The service's log ends:</p><pre>{escape(story.log)}</pre>" if story.log else ""


def _overview(story: Story) -> str:
    table = _table(
        ("#", "step", "outcome", "score, threshold#", "error rate asked → achieved", "ms#"),
        [
            (
                str(number),
                f'<a href="#{step.key}">{escape(step.title)}</a>',
                _badge(step),
                escape(wording.score_of(step.result)),
                escape(wording.rates_of(step.result)),
                f"{step.elapsed_ms:.0f}",
            )
            for number, step in enumerate(story.steps, start=1)
        ],
    )
    return f'<div class="overview">{table}</div>'


def _reading(table: CalibrationTable) -> str:
    return (
        "<h2>How to read a score</h2><article>"
        '<p class="lead">A score says how rarely a stranger gets as far: 20 is 1 stranger in 100, 30 is 1 in 1,000, 40'
        " is 1 in 10,000. It is never a percentage. The upright line is the threshold, set by the false match rate"
        f" (FMR) that was asked for, here {wording.one_in(MAX_FMR)}; a score that reaches it is a match. The scale ends"
        " where the evidence ends. An answer is evidence for an officer, not a verdict.</p>"
        f"{figures.scale(to_score(MAX_FMR), _end(table))}</article>"
    )


def _chapter(story: Story, prefixes: tuple[str, ...], title: str, about: str) -> str:
    steps = [step for step in story.steps if step.key.startswith(prefixes)]
    cards = [step for step in steps if step.outcome == "ENROLLED" and not step.purpose]
    grid = f'<div class="cards">{"".join(_step(step, story) for step in cards)}</div>' if cards else ""
    rest = "".join(_step(step, story) for step in steps if step not in cards)
    return f'<h2>{title}</h2><p class="soft lead">{about}</p>{grid}{rest}'


def _step(step: Step, story: Story) -> str:
    purpose = f'<p class="soft">{escape(step.purpose)}</p>' if step.purpose else ""
    pictures = [figures.sample(picture) for picture in (*step.references, *step.probes)]
    many = {1: " one", 2: ""}.get(len(pictures), " several")
    shown = f'<div class="pictures{many}">{"".join(pictures)}</div>' if pictures else ""
    words = "" if step.passed else f'<p class="words">Not as it must be: expected {escape(step.expected)}.</p>'
    words += _answer(step, story)
    # The bars go where there is room: under a single photograph, else beside two.
    left, right = (shown + _quality(step), words) if len(pictures) == 1 else (shown, words + _quality(step))
    body = f'<div class="body"><div>{left}</div><div>{right}</div></div>' if left else right
    return (
        f'<article id="{step.key}"{"" if step.passed else " class=failed-step"}><header><h3>{escape(step.title)}</h3>'
        f"{_badge(step)}</header>{purpose}{body}</article>"
    )


def _answer(step: Step, story: Story) -> str:
    finding = f'<p class="words">{escape(step.finding)}</p>' if step.finding else ""
    match step.result:
        case Decision() as decision:
            rates = wording.asked_and_achieved("FMR", decision.max_fmr, decision.achieved_fmr)
            return (
                f"{_compared(decision, story.calibration)}{figures.advice(decision.reasons)}{finding}"
                f"{_fine(step, f'{rates}.')}"
            )
        case Identification() as found:
            return f"{_candidates(found, story.calibration)}{figures.advice(found.reasons)}{_fine(step, _rates(found))}"
        case Enrollment() as enrolled:
            reasons = enrolled.samples[0].reasons if enrolled.outcome is not EnrollmentOutcome.ENROLLED else ()
            return f"{figures.advice(reasons)}{finding}{_fine(step)}"
        case ErasureCertificate() as certificate:
            return f"{_certificate(certificate)}{finding}{_fine(step)}"
        case ThresholdUnsupportedError() as error:
            limit = f"The tightest rate that the evidence supports is {wording.one_in(error.tightest)}."
            return f'<p class="words">{limit}</p>{_fine(step, f"{error}.")}'
        case _:
            return f"{finding}{_fine(step)}"


def _compared(decision: Decision, table: CalibrationTable) -> str:
    if decision.score is None:
        return '<p class="words">Nothing could be compared.</p>'
    comparison = f"Score {wording.against_threshold(decision.score, decision.threshold)}"
    words = (
        f"{comparison}, but nobody is refused on such a photograph."
        if decision.outcome is Outcome.INCONCLUSIVE
        else f"{comparison}: {wording.strength(decision.score, capped=decision.capped)}."
    )
    kind, _ = _KINDS[decision.outcome.value]
    return f'<p class="words">{escape(words)}</p>{_scale(decision, table, kind)}'


def _scale(decision: Decision, table: CalibrationTable, kind: str) -> str:
    shown = figures.scale(decision.threshold, _end(table), decision.score, kind)
    if len(decision.components) < 2:
        return shown
    rows = [
        (
            escape(row.trait.name.replace("_", " ")),
            f"{wording.rounded(row.score)}{' or more' if row.capped else ''}",
            wording.one_in(10 ** (-row.score / 10)),
        )
        for row in decision.components
    ]
    return shown + _table(("trait", "score#", "strangers of this score"), rows)


def _end(table: CalibrationTable) -> float:
    return table.points[-1].score


def _certificate(certificate: ErasureCertificate) -> str:
    return (
        f"<dl><dt>subject</dt><dd>{escape(certificate.subject_id)}</dd><dt>erased at</dt>"
        f"<dd>{certificate.erased_at:%Y-%m-%d %H:%M:%S} UTC</dd><dt>removed</dt><dd>{certificate.encounters}"
        f" encounter, {certificate.templates} template, from database and index</dd><dt>event</dt>"
        f"<dd>{certificate.event} of the log</dd><dt>digest</dt><dd><code>{certificate.digest}</code></dd></dl>"
    )


def _quality(step: Step) -> str:
    for picture in step.probes:
        if picture.report and picture.report.quality:
            quality = picture.report.quality
            verdict = "acceptable" if quality.acceptable else "not acceptable"
            return (
                f'<div class="quality"><h4>Quality {quality.overall:.0f} of 100, {verdict}'
                f" ({escape(quality.algorithm)})</h4>{figures.components(quality)}</div>"
            )
    return ""


def _candidates(found: Identification, table: CalibrationTable) -> str:
    if not found.candidates:
        return ""
    threshold = found.threshold or 0.0
    rows = [
        (
            str(candidate.rank),
            escape(candidate.subject_id),
            wording.against_threshold(candidate.score, threshold),
            wording.one_in(10 ** (-candidate.score / 10)),
        )
        for candidate in found.candidates
    ]
    kind, _ = _KINDS[found.outcome.value]
    best = figures.scale(threshold, _end(table), found.candidates[0].score, kind)
    return best + _table(("rank#", "candidate", "score, threshold#", "strangers of this score"), rows)


def _rates(found: Identification) -> str:
    rates = ""
    if found.max_fpir is not None and found.achieved_fpir is not None:
        rates = wording.asked_and_achieved("FPIR", found.max_fpir, found.achieved_fpir) + ". "
    return (
        f"{rates}{found.coverage.subjects} people searched, {'exactly' if found.coverage.exact else 'approximately'}."
    )


def _grounds(story: Story, weights: Sequence[CatalogueRow]) -> str:
    table = story.calibration
    networks = _table(
        ("weights", "role", "licence", "sha256"),
        [
            (
                f"<code>{escape(row.entry.id)}</code>",
                escape(row.entry.role.value),
                escape(f"{row.entry.licence}. {row.entry.licence_note}"),
                f"<code>{row.entry.sha256[:16]}…</code> {escape(row.state.value)}",
            )
            for row in weights
        ],
    )
    sources = _table(("file", "rights"), [(f"<code>{s.package}/{s.path}</code>", escape(s.rights)) for s in SOURCES])
    return (
        "<h2>What it rests on</h2>"
        f"<article><h3>Service</h3><p>At first {escape(story.service)}.</p></article>"
        f"<article><h3>Models</h3><p>Contract <code>{escape(story.model_contract_id)}</code>: detector, alignment,"
        " preprocessing and embedder, hashed together and pinned on every template. Templates of another contract are"
        f" never compared.</p>{networks}</article>"
        f"<article><h3>Calibration</h3><dl><dt>table</dt><dd><code>{escape(table.id)}</code></dd>"
        f"<dt>data</dt><dd>{escape(table.dataset)}: {table.subjects:,} people, {table.images:,} photographs,"
        f" {table.failures_to_enroll} without a template</dd>"
        f"<dt>comparisons</dt><dd>{table.mated:,} of one person, {table.non_mated:,} of two</dd>"
        f"<dt>measured</dt><dd>{table.date.isoformat()}; {escape(table.method)}</dd>"
        f"<dt>tightest FMR</dt><dd>{wording.one_in(table.tightest_fmr)} ({table.tightest_fmr:.2g})</dd></dl></article>"
        f"<article><h3>Photographs</h3>{sources}</article>"
        "<article><h3>Limits</h3><ul>"
        "<li>The calibration speaks for the people it was measured on; another population, camera or age gap needs its"
        " own.</li>"
        "<li>Genuine scores here come from copies of the same photograph, and from synthetic prints.</li>"
        "<li>Nothing here tells a living face from a picture of one: presentation attacks are not detected.</li>"
        f"<li>1:N asks for a false positive rate of {wording.one_in(MAX_FPIR)} a search; the threshold rises with the"
        " number of people.</li>"
        "<li>Milliseconds are of one run on this machine, whatever else it did; from the request to the answer over"
        " gRPC.</li></ul></article>"
        "<footer>Made by <code>biometrik demo</code>. The photographs are here only so that the page can be understood:"
        " do not publish it.</footer>"
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    # Cells are HTML already; a head that ends in # is a column of numbers.
    kinds = [' class="number"' if head.endswith("#") else "" for head in heads]
    top = "".join(f"<th{kind}>{escape(head.rstrip('#'))}</th>" for head, kind in zip(heads, kinds, strict=True))
    body = "".join(
        f"<tr>{''.join(f'<td{kind}>{cell}</td>' for cell, kind in zip(row, kinds, strict=True))}</tr>" for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _badge(step: Step) -> str:
    kind, sign = _KINDS.get(step.outcome, ("told", "!"))
    return f'<span class="badge is-{kind}">{sign} {escape(step.outcome.replace("_", " "))}</span>'


def _fine(step: Step, text: str = "") -> str:
    return f'<p class="fine">{escape(text)} {step.elapsed_ms:.0f} ms.</p>'
