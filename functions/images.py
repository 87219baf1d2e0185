"""The doors of pictures: a local store takes uploads at their signed addresses, and every store shows what it keeps."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from domain.errors import Unavailable
from domain.ids import Kind, is_id
from domain.images import is_file_name
from firestore.store import Store
from integrations.bodies import LAST, BodyRefused, ClientLeft, read_body
from integrations.images import WEBP, Gallery
from integrations.local.storage import LocalStorage

UPLOAD_SECONDS = 60.0  # the largest picture by a line of a megabit a second

# A name stands for one picture for ever. Opened by itself it is saved, not shown, and whatever it held could do
# nothing: no type but the one that is said, no script, no frame, no origin (T-P05).
SHOWN = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "Content-Disposition": 'attachment; filename="picture.webp"',
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
}


class ImageDoors:
    """What the routes lead to."""

    def __init__(self, store: Store, gallery: Gallery) -> None:
        self._store = store
        self._gallery = gallery

    def routes(self) -> list[Route]:
        shown = [Route("/images/{name}", self.show, methods=["GET"])]
        if isinstance(self._gallery.storage, LocalStorage):
            return [*shown, Route("/uploads/{upload_id}", self.take, methods=["PUT"])]
        return shown

    async def show(self, request: Request) -> Response:
        """A picture by its file's name, or by the upload that it came by, which leads on to the file."""
        name = request.path_params["name"]
        try:
            if is_file_name(name):
                content = await self._gallery.file(name)
                if content is not None:
                    return Response(content, media_type=WEBP, headers=SHOWN)
            elif is_id(name, Kind.UPLOAD):
                upload = await self._store.images.find(name)
                url = self._gallery.url(upload.image) if upload else None
                if url is not None:
                    return RedirectResponse(url, headers={"Cache-Control": "public, max-age=3600"})
        except Unavailable as down:
            return PlainTextResponse(f"{down.message}\n", status_code=503)
        return PlainTextResponse("There is no such picture.\n", status_code=404)

    async def take(self, request: Request) -> Response:
        """Keep one file of exactly the type and size that the address was signed for, once (T-P06)."""
        storage = self._gallery.storage
        assert isinstance(storage, LocalStorage), "only a local store takes uploads itself"
        upload_id = request.path_params["upload_id"]
        permit = storage.permit(f"uploads/{upload_id}", request.query_params, request.headers)
        if permit is None or not is_id(upload_id, Kind.UPLOAD):
            return PlainTextResponse("This address is not valid, or no longer: use createImageUpload.\n", 403)
        try:
            content = await read_body(request.headers, request.receive, permit.size_bytes, UPLOAD_SECONDS)
        except BodyRefused as refused:
            exact = f"Send exactly {permit.size_bytes} bytes, within {UPLOAD_SECONDS:g} s.\n"
            return PlainTextResponse(exact, 408 if refused.status == 408 else 400, LAST)
        except ClientLeft:
            return PlainTextResponse("The file did not arrive.\n", 400)
        if len(content) != permit.size_bytes:
            return PlainTextResponse(f"Send exactly {permit.size_bytes} bytes.\n", 400)
        if not await storage.take(permit, content):
            return PlainTextResponse("A file was sent here before: use createImageUpload.\n", 412)
        return Response(status_code=200)
