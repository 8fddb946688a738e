"""Reports and conversions of interchange records as messages of the contract, and back; as :mod:`biometrik.wire`."""

from datetime import datetime
from typing import Any, Final

from biometrik.formats.record_report import (
    BlockReport,
    Conversion,
    RecordReport,
    RecordType,
    Stated,
    ViewReport,
)
from biometrik.v1 import record_pb2, sample_service_pb2
from biometrik.wire import IMPRESSIONS, EnumMap, finger_position, time_from_wire, time_to_wire

TYPES: Final = EnumMap(RecordType, record_pb2.RecordType, "RECORD_TYPE_")


def record_to_wire(data: bytes, stated: Stated) -> record_pb2.Record:
    """Return a record with what is known of it."""
    return record_pb2.Record(
        data=data,
        type=TYPES.to_wire(stated.type) if stated.type else record_pb2.RECORD_TYPE_UNSPECIFIED,
        position=int(stated.position),  # type: ignore[arg-type]  # the codes are the contract's numbers
        ppi=stated.ppi or 0.0,
        width_px=stated.width_px,
        height_px=stated.height_px,
    )


def record_from_wire(message: record_pb2.Record) -> tuple[bytes, Stated]:
    """Return a record's octets and what is known of them."""
    return message.data, Stated(
        type=TYPES.from_wire(message.type) if message.type else None,
        position=finger_position(message.position),
        ppi=message.ppi or None,
        width_px=message.width_px,
        height_px=message.height_px,
    )


def report_to_wire(report: RecordReport) -> record_pb2.RecordReport:
    """Return what stands in a record."""
    return record_pb2.RecordReport(
        type=TYPES.to_wire(report.type),
        size_bytes=report.octets,
        blocks=[_block_to_wire(block) for block in report.blocks],
        views=[_view_to_wire(view) for view in report.views],
        departures=report.departures,
    )


def report_from_wire(message: record_pb2.RecordReport) -> RecordReport:
    """Return what stands in a record."""
    return RecordReport(
        type=TYPES.from_wire(message.type),
        octets=message.size_bytes,
        blocks=tuple(map(_block_from_wire, message.blocks)),
        views=tuple(map(_view_from_wire, message.views)),
        departures=tuple(message.departures),
    )


def conversion_to_wire(made: Conversion) -> sample_service_pb2.ConvertRecordResponse:
    """Return a converted record."""
    return sample_service_pb2.ConvertRecordResponse(
        data=made.data,
        source=TYPES.to_wire(made.source),
        target=TYPES.to_wire(made.target),
        losses=made.losses,
        departures=made.departures,
    )


def conversion_from_wire(message: sample_service_pb2.ConvertRecordResponse) -> Conversion:
    """Return a converted record."""
    return Conversion(
        message.data,
        TYPES.from_wire(message.source),
        TYPES.from_wire(message.target),
        tuple(message.losses),
        tuple(message.departures),
    )


def _block_to_wire(block: BlockReport) -> record_pb2.RecordBlock:
    return record_pb2.RecordBlock(
        format_owner=block.format_owner,
        format_type=block.format_type,
        modality=block.modality,
        subtype=block.subtype,
        level=block.level,
        purpose=block.purpose,
        quality=block.quality,
        created_at=None if block.created_at is None else time_to_wire(block.created_at),
        size_bytes=block.octets,
        content=TYPES.to_wire(block.content) if block.content else record_pb2.RECORD_TYPE_UNSPECIFIED,
    )


def _block_from_wire(message: record_pb2.RecordBlock) -> BlockReport:
    return BlockReport(
        message.format_owner,
        message.format_type,
        message.modality,
        message.subtype,
        message.level,
        message.purpose,
        _optional(message, "quality"),
        _time(message, "created_at"),
        message.size_bytes,
        TYPES.from_wire(message.content) if message.content else None,
    )


def _view_to_wire(view: ViewReport) -> record_pb2.RecordView:
    return record_pb2.RecordView(
        position=int(view.position),  # type: ignore[arg-type]  # the codes are the contract's numbers
        impression=IMPRESSIONS.to_wire(view.impression),
        width_px=view.width_px,
        height_px=view.height_px,
        x_ppi=view.x_ppi,
        y_ppi=view.y_ppi,
        minutiae=view.minutiae,
        coding=view.coding,
        quality=view.quality,
        captured_at=None if view.captured_at is None else time_to_wire(view.captured_at),
    )


def _view_from_wire(message: record_pb2.RecordView) -> ViewReport:
    return ViewReport(
        finger_position(message.position),
        IMPRESSIONS.from_wire(message.impression),
        message.width_px,
        message.height_px,
        _optional(message, "x_ppi"),
        _optional(message, "y_ppi"),
        _optional(message, "minutiae"),
        message.coding,
        _optional(message, "quality"),
        _time(message, "captured_at"),
    )


def _optional(message: Any, name: str) -> Any:
    return getattr(message, name) if message.HasField(name) else None


def _time(message: Any, name: str) -> datetime | None:
    return time_from_wire(getattr(message, name)) if message.HasField(name) else None
