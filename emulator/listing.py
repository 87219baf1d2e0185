"""ListDocuments: documents of a collection by id, and the ids that only have something below them."""

from emulator.paths import FieldPath, document_name, parse_parent
from emulator.protocol import Document, ListDocumentsResponse, Message, invalid
from emulator.query import project
from emulator.storage import View

PAGE_MAX = 300


def list_documents(view: View, request: Message, mask: tuple[FieldPath, ...] | None) -> Message:
    """One page. A page token is the last id of the page before; order is by name only."""
    if request.order_by not in ("", "__name__", "__name__ asc"):
        raise invalid("ListDocuments here orders by __name__ only; use RunQuery for another order.")
    database, parent = parse_parent(request.parent)
    if not request.collection_id:
        raise invalid("ListDocuments needs a collection_id here; list the ids with ListCollectionIds.")
    size = min(request.page_size, PAGE_MAX) if request.page_size > 0 else PAGE_MAX
    response = ListDocumentsResponse()
    place = (*parent, request.collection_id)
    last = ""
    for child in view.children(database, place, request.page_token):
        if len(response.documents) == size:
            response.next_page_token = last
            break
        segments = (*place, child)
        document = view.document(database, segments)
        if document is not None:
            response.documents.append(project(document, mask))
        elif request.show_missing:
            response.documents.append(Document(name=document_name(database, segments)))
        last = child
    return response
