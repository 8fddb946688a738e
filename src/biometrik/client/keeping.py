"""The calls about subjects, encounters, galleries, and the service itself; the two clients share them."""

from collections.abc import Sequence
from typing import Final

from biometrik import wire
from biometrik.client.calls import PACKAGE, Asking, Operation, counted
from biometrik.client.served import Capabilities, ServedCopy, ServedModel, capabilities_from_wire, copy_from_wire
from biometrik.errors import InvalidInputError
from biometrik.types import (
    Encounter,
    EncounterStatus,
    ErasureCertificate,
    GalleryInfo,
    GalleryKind,
    RequestContext,
    Subject,
)
from biometrik.v1 import admin_service_pb2, gallery_service_pb2, subject_service_pb2

#: Within which a database is copied and read: tens of millions of encounters.
SNAPSHOT_S: Final = 3600.0


class KeepingOperations(Asking):
    """Builds the calls about what a service holds and is: people, galleries, models, copies."""

    def erase(self, subject_id: str, context: RequestContext | None) -> Operation[ErasureCertificate]:
        """EraseSubject."""
        return Operation(
            f"{PACKAGE}.SubjectService/EraseSubject",
            subject_service_pb2.EraseSubjectRequest(context=self.writing(context), subject_id=subject_id),
            subject_service_pb2.EraseSubjectResponse,
            lambda answer: wire.certificate_from_wire(answer.certificate),
        )

    def subject(self, subject_id: str) -> Operation[Subject]:
        """GetSubject."""
        return Operation(
            f"{PACKAGE}.SubjectService/GetSubject",
            subject_service_pb2.GetSubjectRequest(context=self.context(), subject_id=subject_id),
            subject_service_pb2.GetSubjectResponse,
            lambda answer: wire.subject_from_wire(answer.subject),
        )

    def subjects(self, gallery: str | None, after: str, limit: int) -> Operation[list[Subject]]:
        """ListMembers; its page token is the id of the last subject before the page."""
        return Operation(
            f"{PACKAGE}.GalleryService/ListMembers",
            gallery_service_pb2.ListMembersRequest(
                context=self.context(),
                gallery=_named(gallery),
                page_token=after,
                page_size=counted("limit", limit, least=1),
            ),
            gallery_service_pb2.ListMembersResponse,
            lambda answer: [wire.subject_from_wire(subject) for subject in answer.subjects],
        )

    def encounter(self, encounter_id: str) -> Operation[Encounter]:
        """GetEncounter."""
        return Operation(
            f"{PACKAGE}.SubjectService/GetEncounter",
            subject_service_pb2.GetEncounterRequest(context=self.context(), encounter_id=encounter_id),
            subject_service_pb2.GetEncounterResponse,
            lambda answer: wire.encounter_from_wire(answer.encounter),
        )

    def set_encounter_status(
        self, encounter_id: str, status: EncounterStatus, context: RequestContext | None
    ) -> Operation[Encounter]:
        """SetEncounterStatus."""
        return Operation(
            f"{PACKAGE}.SubjectService/SetEncounterStatus",
            subject_service_pb2.SetEncounterStatusRequest(
                context=self.writing(context), encounter_id=encounter_id, status=wire.STATUSES.to_wire(status)
            ),
            subject_service_pb2.SetEncounterStatusResponse,
            lambda answer: wire.encounter_from_wire(answer.encounter),
        )

    def set_encounter_galleries(
        self, encounter_id: str, galleries: Sequence[str], context: RequestContext | None
    ) -> Operation[Encounter]:
        """SetEncounterGalleries."""
        return Operation(
            f"{PACKAGE}.SubjectService/SetEncounterGalleries",
            subject_service_pb2.SetEncounterGalleriesRequest(
                context=self.writing(context), encounter_id=encounter_id, galleries=galleries
            ),
            subject_service_pb2.SetEncounterGalleriesResponse,
            lambda answer: wire.encounter_from_wire(answer.encounter),
        )

    def create_gallery(
        self,
        name: str,
        kind: GalleryKind,
        legal_basis: str,
        retention_days: int,
        context: RequestContext | None,
    ) -> Operation[GalleryInfo]:
        """CreateGallery."""
        return Operation(
            f"{PACKAGE}.GalleryService/CreateGallery",
            gallery_service_pb2.CreateGalleryRequest(
                context=self.writing(context),
                name=name,
                kind=wire.KINDS.to_wire(kind),
                legal_basis=legal_basis,
                retention_days=counted("retention_days", retention_days),
            ),
            gallery_service_pb2.CreateGalleryResponse,
            lambda answer: wire.gallery_from_wire(answer.gallery),
        )

    def gallery(self, name: str) -> Operation[GalleryInfo]:
        """GetGallery."""
        return Operation(
            f"{PACKAGE}.GalleryService/GetGallery",
            gallery_service_pb2.GetGalleryRequest(context=self.context(), name=name),
            gallery_service_pb2.GetGalleryResponse,
            lambda answer: wire.gallery_from_wire(answer.gallery),
        )

    def galleries(self, token: str) -> Operation[tuple[list[GalleryInfo], str]]:
        """ListGalleries: a page, and the token of the next."""
        return Operation(
            f"{PACKAGE}.GalleryService/ListGalleries",
            gallery_service_pb2.ListGalleriesRequest(context=self.context(), page_size=1000, page_token=token),
            gallery_service_pb2.ListGalleriesResponse,
            lambda answer: ([wire.gallery_from_wire(row) for row in answer.galleries], answer.next_page_token),
        )

    def delete_gallery(self, name: str, context: RequestContext | None) -> Operation[None]:
        """DeleteGallery."""
        return Operation(
            f"{PACKAGE}.GalleryService/DeleteGallery",
            gallery_service_pb2.DeleteGalleryRequest(context=self.writing(context), name=name),
            gallery_service_pb2.DeleteGalleryResponse,
            lambda _: None,
        )

    def capabilities(self) -> Operation[Capabilities]:
        """GetCapabilities."""
        return Operation(
            f"{PACKAGE}.AdminService/GetCapabilities",
            admin_service_pb2.GetCapabilitiesRequest(context=self.context()),
            admin_service_pb2.GetCapabilitiesResponse,
            capabilities_from_wire,
        )

    def models(self) -> Operation[tuple[ServedModel, ...]]:
        """ListModels."""
        return Operation(
            f"{PACKAGE}.AdminService/ListModels",
            admin_service_pb2.ListModelsRequest(context=self.context()),
            admin_service_pb2.ListModelsResponse,
            lambda answer: tuple(ServedModel(m.model_id, m.task, m.licence, m.sha256) for m in answer.models),
        )

    def snapshot(self, label: str, context: RequestContext | None) -> Operation[ServedCopy]:
        """Snapshot."""
        return Operation(
            f"{PACKAGE}.AdminService/Snapshot",
            admin_service_pb2.SnapshotRequest(context=self.writing(context), label=label),
            admin_service_pb2.SnapshotResponse,
            copy_from_wire,
            timeout_s=SNAPSHOT_S,
        )


def _named(gallery: str | None) -> str:
    if gallery == "":  # in the contract that asks for everybody
        raise InvalidInputError("gallery: expected a name, or None for everybody")
    return gallery or ""
