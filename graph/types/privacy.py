"""What the store holds of the viewer, as a file."""

from __future__ import annotations

from datetime import datetime

import strawberry


@strawberry.type(description="All that the store holds of the viewer, as a JSON file to download.")
class DataExport:
    created_at: datetime
    expires_at: datetime
    url: str = strawberry.field(description="Who has it has the data: it works for ten minutes.")
