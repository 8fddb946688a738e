"""The commands about interchange records: what stands in one, and the same in another format."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from typer import Argument, Option

from biometrik.cli.answer import answer
from biometrik.cli.options import Output, Service, address_of
from biometrik.cli.root import INCONCLUSIVE, app, command

if TYPE_CHECKING:
    from biometrik.formats.record_report import Stated

_records = typer.Typer(
    no_args_is_help=True,
    help="Interchange records: ISO/IEC 19794-2 and -4, ANSI 378, CBEFF (ISO/IEC 19785), WSQ.",
)
app.add_typer(_records, name="record")

Written = Literal[
    "iso19794-2:2005",
    "iso19794-2:2011",
    "iso19794-2:card-compact",
    "iso19794-2:card-normal",
    "ansi378:2004",
    "ansi378:2009",
    "template",
    "iso19794-4:2005",
    "iso19794-4:2011",
    "png",
    "wsq",
    "raw8",
    "cbeff:xml",
    "cbeff:simple",
]
#: What has no header to be recognised by.
Headless = Literal["iso19794-2:card-compact", "iso19794-2:card-normal", "raw8"]

File = Annotated[Path, Argument(help="The record: its format is found out.")]


@dataclass(frozen=True, slots=True)
class Given:
    """What the caller knows of a record that does not say it itself."""

    headless: Annotated[
        Headless | None, Option("--from", help="What it is, of formats that have no header to be recognised by.")
    ] = None
    finger: Annotated[
        int,
        Option(
            "--finger",
            metavar="CODE",
            min=0,
            max=15,
            help="Which finger, where the record says none: 1 to 5 from the right thumb, 6 to 10 from the left.",
        ),
    ] = 0
    ppi: Annotated[float | None, Option("--ppi", metavar="PPI", help="Pixels an inch of a bare image.")] = None
    width: Annotated[int, Option("--width", metavar="PX", min=0, help="Of raw8.")] = 0
    height: Annotated[int, Option("--height", metavar="PX", min=0, help="Of raw8.")] = 0

    def stated(self) -> "Stated":
        """Return it as the library takes it."""
        from biometrik.fingers import FingerPosition
        from biometrik.formats.record_report import RecordType, Stated

        kind = RecordType(self.headless) if self.headless else None
        return Stated(kind, FingerPosition(self.finger), self.ppi, self.width, self.height)


@command(_records, name="inspect", example="biometrik record inspect finger.fmr", exits="0 it could be read")
def inspect(file: File, *, given: Given, service: Service, output: Output) -> None:
    """Say what stands in a record, and where it departs from its standard; never minutiae or pixels."""
    from biometrik.cli import schema
    from biometrik.cli.screens import record as screen
    from biometrik.imaging import read_file

    data = read_file(file)
    if address := address_of(service):
        from biometrik.client import Client

        with Client(service.connection(address, output)) as client:
            report = client.inspect_record(data, given.stated())
    else:
        from biometrik import records

        report = records.inspect(data, given.stated())
    answer(
        "record inspect",
        {"file": str(file), **schema.record(report)},
        lambda console: screen.report(console, report),
        as_json=output.json,
    )


@command(
    _records,
    name="convert",
    example="biometrik record convert finger.fmr --to iso19794-2:2011 finger-2011.fmr",
    exits="0 written; what was lost is said",
)
def convert(
    file: File,
    out: Annotated[Path, Argument(help="Where the new record goes.")],
    *,
    to: Annotated[Written, Option("--to", help="What it is to become.")],
    view: Annotated[int, Option("--view", metavar="N", min=0, help="Which print, as inspect counts; 0 for all.")] = 0,
    force: Annotated[bool, Option("--force", help="Replace a file that is there.")] = False,
    given: Given,
    service: Service,
    output: Output,
) -> None:
    """Write a record in another format, and say what that loses.

    Minutiae stay minutiae and images stay images. The new file appears whole or not at all.
    """
    from biometrik.cli import files, schema
    from biometrik.cli.screens import record as screen
    from biometrik.formats.record_report import RecordType
    from biometrik.imaging import read_file

    files.refuse_to_replace(out, force=force)  # before the work
    data, target = read_file(file), RecordType(to)
    if address := address_of(service):
        from biometrik.client import Client

        with Client(service.connection(address, output)) as client:
            made = client.convert_record(data, target, given.stated(), view=view)
    else:
        from biometrik import records

        made = records.convert(data, target, given.stated(), view=view)
    files.write(out, made.data, force=force)
    answer(
        "record convert",
        {"file": str(file), "output": str(out), **schema.conversion(made)},
        lambda console: screen.conversion(console, made, out),
        as_json=output.json,
    )


@command(
    _records,
    name="compare",
    example="biometrik record compare counter.fmr chip.fmr",
    exits="3 always: without a calibration nothing is decided",
)
def compare(
    probe: File,
    reference: File,
    *,
    given: Given,
    output: Output,
) -> None:
    """Say how alike the minutiae of two records are, made by whatever extractor.

    The similarity is the matcher's own, 0 to 1, of the pair of prints that is most alike. What it means for error
    rates nobody has measured for minutiae from elsewhere, so that nothing is decided.
    """
    from biometrik import records
    from biometrik.cli import schema
    from biometrik.cli.screens import record as screen
    from biometrik.imaging import read_file

    found = records.compare(read_file(probe), read_file(reference), given.stated())
    answer(
        "record compare",
        {"files": [str(probe), str(reference)], **schema.similarity(found)},
        lambda console: screen.similarity(console, found),
        as_json=output.json,
        code=INCONCLUSIVE,
    )
