"""Rules of the house that no linter knows; run by scripts/check."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: What must not stand in a tracked file: package registries' hosts, folders of one machine, and weights or pictures.
FORBIDDEN_TEXT = {
    "a package registry's host": re.compile(r"pypi\.org|pythonhosted\.org|registry\.npmjs|npmjs\.com|anaconda\.org"),
    "a path of one machine": re.compile(r"/(?:work|root|home)/[a-z]"),
}
FORBIDDEN_FILES = re.compile(r"\.(onnx|pb|bin|jpg|jpeg|tif|tiff|bmp|wsq|jp2|db)$", re.IGNORECASE)
MAX_BYTES = 700_000


def main() -> int:
    """Return 1 and say what is wrong, or 0."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    faults = [fault for name in listed.stdout.decode().split("\0") if name for fault in faults_of(ROOT / name)]
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


def faults_of(path: Path) -> list[str]:
    """Return what is wrong with one file."""
    if not path.is_file() or path == Path(__file__).resolve():
        return []
    name = path.relative_to(ROOT)
    faults = []
    if FORBIDDEN_FILES.search(path.name):
        faults.append(f"{name}: weights, databases and photographs do not belong in git")
    if path.stat().st_size > MAX_BYTES:
        faults.append(f"{name}: expected at most {MAX_BYTES} bytes, got {path.stat().st_size}")
    text = path.read_bytes().decode("utf-8", errors="ignore")
    faults += [f"{name}: names {what}" for what, pattern in FORBIDDEN_TEXT.items() if pattern.search(text)]
    return faults


if __name__ == "__main__":
    sys.exit(main())
