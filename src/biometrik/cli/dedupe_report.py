"""The findings of a search for duplicates as files: JSON, CSV, and one HTML page that needs nothing from elsewhere."""

import base64
import csv
import io
import json
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from biometrik import __version__, wording
from biometrik.cli.root import FORMAT

if TYPE_CHECKING:
    from biometrik.cli.dedupe import Findings
    from biometrik.duplicates import DuplicatePair

#: Pairs whose photographs the page shows: some megabytes of it.
_PICTURED: Final = 200
_HEIGHT_PX: Final = 120
_MOST_WIDTH_PX: Final = 480
_JPEG_QUALITY: Final = 80
_PHOTOGRAPHS: Final = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".jp2")

_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #1c2733; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.05rem; margin: 0 0 .5rem; }
section { border: 1px solid #d5dce3; border-radius: 8px; margin: 1rem 0; padding: 1rem; }
table { border-collapse: collapse; width: 100%; } th { text-align: left; font-weight: 600; color: #5b6b7a; }
td, th { padding: .25rem .75rem .25rem 0; vertical-align: top; } tr + tr td { border-top: 1px solid #eef1f4; }
.number { text-align: right; } .fine { color: #5b6b7a; font-size: .85rem; } img { height: 120px; border-radius: 4px; }
code { font-size: .8rem; } .notice { background: #fff6dd; border-radius: 8px; padding: .75rem 1rem; }
"""


def body(findings: "Findings") -> dict[str, Any]:
    """Return the findings as JSON's fields; see :mod:`biometrik.cli.schema`."""
    survey = findings.survey
    return {
        "max_fmr": findings.max_fmr,
        "threshold": findings.threshold,
        "galleries": survey.asked["galleries"],
        "encounters": {"faces": survey.faces, "prints": survey.prints, "passed_over": survey.passed_over},
        "compared": survey.compared,
        "exact": survey.exact,
        "expected_by_chance": findings.expected_by_chance,
        "found": survey.found,
        "calibrations": [table.id for table in findings.evidence],
        "clusters": [
            {"subjects": _people(cluster), "pairs": [_pair(findings, pair) for pair in cluster]}
            for cluster in findings.clusters
        ],
    }


def document(findings: "Findings", _photos: Path | None) -> bytes:
    """Return a JSON file."""
    return json.dumps({"format": FORMAT, "command": "dedupe", **body(findings)}, indent=1, allow_nan=False).encode()


def rows(findings: "Findings", _photos: Path | None) -> bytes:
    """Return a CSV file, UTF-8: a line a pair, the likeliest cluster first."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    sides = [f"{what}_{side}" for side in ("a", "b") for what in ("subject", "encounter", "enrolled_at", "galleries")]
    writer.writerow(["cluster", *sides, "score", "capped", "raw_scores"])
    for number, cluster in enumerate(findings.clusters, start=1):
        for pair in cluster:
            cells: list[object] = [number]
            for encounter_id in pair.encounter_ids:
                encounter = findings.encounters[encounter_id]
                when, where = encounter.created_at.isoformat(), "; ".join(encounter.galleries)
                cells += [encounter.subject_id, encounter_id, when, where]
            raw = "; ".join(f"{row.trait.name} {row.raw_score:.4f}" for row in pair.components)
            writer.writerow([*cells, f"{pair.score:.2f}", pair.capped, raw])
    return text.getvalue().encode()


def page(findings: "Findings", photos: Path | None) -> bytes:
    """Return an HTML file; photographs of the caller's folder are made small and put into it."""
    survey, pictures = findings.survey, _pictures(photos)
    pairs = sum(map(len, findings.clusters))
    sections, shown = [], 0
    for number, cluster in enumerate(findings.clusters, start=1):
        seen = [pair for i, pair in enumerate(cluster) if shown + i < _PICTURED]
        sections.append(
            _section(findings, number, cluster, {id(pair) for pair in seen} if pictures else set(), pictures)
        )
        shown += len(cluster)
    facts = [
        ("compared", f"{survey.searched:,} encounters with all others, {survey.compared:,} pairs"),
        ("by", f"face alone: {survey.faces:,}; by prints, and the face where there is one: {survey.prints:,}"),
        ("passed over", f"{survey.passed_over:,} encounters: inactive, in no gallery that was searched, of other models"
         " than those in force, or with traits whose evidence does not reach this FMR"),
        ("galleries", ", ".join(survey.asked["galleries"] or ()) or "all"),
        ("completeness", "every pair was compared" if survey.exact else "prints were compared in stages: some pairs"
         " may be missing"),
        ("threshold", f"score {wording.rounded(findings.threshold)}: strangers reach it in"
         f" {wording.one_in(findings.max_fmr)} comparisons"),
        ("expected by chance", f"about {findings.expected_by_chance:,.1f} pairs of strangers among so many comparisons,"
         " if those who were calibrated on are like these"),
        ("named", f"{pairs:,} pairs in {len(findings.clusters):,} clusters, the likeliest first"),
    ]  # fmt: skip
    told = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in facts)
    evidence = "".join(f"<p class='fine'>{escape(wording.grounds(table))}</p>" for table in findings.evidence)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Suspected duplicates</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<style>{_STYLE}</style></head><body>
<h1>Suspected duplicates</h1>
<p class="fine">{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, biometrik {__version__}. A suspicion is for a person to judge, \
never a refusal. This page names people: keep it as you keep the database.</p>
<p class="notice">{_about_pictures(photos, pictures, pairs)}</p>
<table>{told}</table>{evidence}
{"".join(sections) or "<section>Nobody is suspected.</section>"}
</body></html>
""".encode()


def _section(
    findings: "Findings",
    number: int,
    cluster: "tuple[DuplicatePair, ...]",
    pictured: set[int],
    pictures: dict[str, Path],
) -> str:
    lines = []
    for pair in cluster:
        sides = "".join(_side(findings, who, pictures if id(pair) in pictured else {}) for who in pair.encounter_ids)
        traits = ", ".join(f"{row.trait.name.replace('_', ' ')} {row.raw_score:.3f}" for row in pair.components)
        score = f"{wording.rounded(pair.score)}{' or more' if pair.capped else ''}"
        lines.append(f"<tr><td class='number'>{score}</td>{sides}<td class='fine'>{escape(traits)}</td></tr>")
    people = len(_people(cluster))
    return (
        f"<section><h2>{number}. {people} ids of one person?</h2><table><tr><th class='number'>score</th>"
        f"<th>one</th><th>the other</th><th>similarities</th></tr>{''.join(lines)}</table></section>"
    )


def _side(findings: "Findings", encounter_id: str, pictures: dict[str, Path]) -> str:
    encounter = findings.encounters[encounter_id]
    file = pictures.get(encounter_id) or pictures.get(encounter.subject_id)
    picture = "" if file is None else _thumbnail(file)
    return (
        f"<td>{picture}<b>{escape(encounter.subject_id)}</b><br><span class='fine'>"
        f"{encounter.created_at:%Y-%m-%d %H:%M} · {escape(', '.join(encounter.galleries))}<br>"
        f"<code>{escape(encounter_id)}</code></span></td>"
    )


def _about_pictures(photos: Path | None, pictures: dict[str, Path], pairs: int) -> str:
    kept = "The database keeps templates, not samples: it holds no pictures of anybody."
    if photos is None:
        return f"{kept} There are none on this page; --photos FOLDER shows your own."
    some = f" of the first {_PICTURED} pairs" if pairs > _PICTURED else ""
    return f"{kept} Those shown{some} are from a folder of {len(pictures):,} photographs that was given for this page."


def _pictures(folder: Path | None) -> dict[str, Path]:
    # By name without its ending. Ids are looked up among what the folder lists: none becomes part of a path.
    if folder is None:
        return {}
    return {
        file.stem: file for file in sorted(folder.iterdir()) if file.suffix.lower() in _PHOTOGRAPHS and file.is_file()
    }


def _thumbnail(file: Path) -> str:
    import cv2

    from biometrik.errors import InvalidInputError
    from biometrik.types import FaceImage

    try:
        pixels = FaceImage.from_file(file).pixels
    except InvalidInputError:
        return "<p class='fine'>(a photograph that cannot be read)</p>"
    width = min(max(1, round(pixels.shape[1] * _HEIGHT_PX / pixels.shape[0])), _MOST_WIDTH_PX)
    small = cv2.resize(pixels, (width, _HEIGHT_PX), interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"><br>'


def _people(cluster: "tuple[DuplicatePair, ...]") -> list[str]:
    return list(dict.fromkeys(who for pair in cluster for who in pair.subject_ids))


def _pair(findings: "Findings", pair: "DuplicatePair") -> dict[str, Any]:
    both = [findings.encounters[encounter_id] for encounter_id in pair.encounter_ids]
    return {
        "score": pair.score,
        "capped": pair.capped,
        "encounters": [
            {
                "subject_id": encounter.subject_id,
                "encounter_id": encounter.encounter_id,
                "created_at": encounter.created_at.isoformat(),
                "galleries": list(encounter.galleries),
            }
            for encounter in both
        ],
        "components": [
            {
                "trait": row.trait.name,
                "score": row.score,
                "raw_score": row.raw_score,
                "comparisons": row.comparisons,
                "calibration_id": row.calibration_id,
            }
            for row in pair.components
        ],
    }
