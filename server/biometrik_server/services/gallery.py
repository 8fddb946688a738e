"""GalleryService: sets of people that are searched."""

import grpc

from biometrik import wire
from biometrik.v1 import gallery_service_pb2 as pb
from biometrik.v1 import gallery_service_pb2_grpc
from biometrik_server.convert import page_size, paged
from biometrik_server.desk import Desk


class GalleryService(gallery_service_pb2_grpc.GalleryServiceServicer):
    """See ``proto/biometrik/v1/gallery_service.proto``."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def CreateGallery(
        self,
        request: pb.CreateGalleryRequest,
        context: "grpc.aio.ServicerContext[pb.CreateGalleryRequest, pb.CreateGalleryResponse]",
    ) -> pb.CreateGalleryResponse:
        kind = wire.KINDS.from_wire(request.kind)
        who = wire.context_from_wire(request.context)
        gallery = await self._desk.call(
            self._desk.engine.create_gallery,
            request.name,
            kind,
            legal_basis=request.legal_basis,
            retention_days=request.retention_days,
            context=who,
        )
        return pb.CreateGalleryResponse(gallery=wire.gallery_to_wire(gallery))

    async def GetGallery(
        self,
        request: pb.GetGalleryRequest,
        context: "grpc.aio.ServicerContext[pb.GetGalleryRequest, pb.GetGalleryResponse]",
    ) -> pb.GetGalleryResponse:
        gallery = await self._desk.call(self._desk.engine.gallery, request.name)
        return pb.GetGalleryResponse(gallery=wire.gallery_to_wire(gallery))

    async def ListGalleries(
        self,
        request: pb.ListGalleriesRequest,
        context: "grpc.aio.ServicerContext[pb.ListGalleriesRequest, pb.ListGalleriesResponse]",
    ) -> pb.ListGalleriesResponse:
        size = page_size(request.page_size)
        galleries = await self._desk.call(self._desk.engine.galleries)
        in_order = sorted(galleries, key=lambda gallery: gallery.name)
        page, token = paged(in_order, lambda gallery: gallery.name, request.page_token, size)
        return pb.ListGalleriesResponse(
            galleries=[wire.gallery_to_wire(gallery) for gallery in page], next_page_token=token
        )

    async def DeleteGallery(
        self,
        request: pb.DeleteGalleryRequest,
        context: "grpc.aio.ServicerContext[pb.DeleteGalleryRequest, pb.DeleteGalleryResponse]",
    ) -> pb.DeleteGalleryResponse:
        who = wire.context_from_wire(request.context)
        await self._desk.call(self._desk.engine.delete_gallery, request.name, context=who)
        return pb.DeleteGalleryResponse()

    async def ListMembers(
        self,
        request: pb.ListMembersRequest,
        context: "grpc.aio.ServicerContext[pb.ListMembersRequest, pb.ListMembersResponse]",
    ) -> pb.ListMembersResponse:
        size = page_size(request.page_size)
        subjects = await self._desk.call(
            self._desk.engine.subjects, gallery=request.gallery or None, after=request.page_token, limit=size
        )
        # A full page may be the last one: the next is then empty, which costs less than looking one row ahead.
        token = subjects[-1].subject_id if len(subjects) == size else ""
        return pb.ListMembersResponse(
            subjects=[wire.subject_to_wire(subject) for subject in subjects], next_page_token=token
        )
