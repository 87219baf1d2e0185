"""Records of the domain as documents, and back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar, cast

import msgspec

from domain.money import Dof
from firestore.backend import Snapshot, Value

SEAL = "seal"


class Record(Protocol):
    """A frozen dataclass that knows its id."""

    @property
    def id(self) -> str: ...


R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True)
class Collection(Generic[R]):
    """Documents of one type under one name. Those of the ledger are sealed: no field of one changes unnoticed."""

    name: str
    type: type[R]
    sealed: bool = False

    def at(self, record_id: str) -> str:
        """The document's path. The id is one of ours: text from outside is checked or hashed before it comes here."""
        return f"{self.name}/{record_id}"

    def encode(self, record: R) -> dict[str, Value]:
        """The record as its document, with its seal where the collection has them."""
        data = encode(record)
        if self.sealed:
            data[SEAL] = seal(self.at(record.id), data)
        return data

    def decode(self, snapshot: Snapshot) -> R:
        """The document as a record; a field that an older version did not write has its default. Raises ValueError."""
        return msgspec.convert(snapshot.data, self.type, builtin_types=(datetime, bytes), dec_hook=_decode_dof)


def seal(path: str, data: Mapping[str, Value]) -> str:
    """A short hash of a document's place and of all its fields but the seal itself.

    It says whether somebody has changed a stored document by other means than the store's. It proves nothing against
    who can compute it too: that is what receipts are for.
    """
    plain = {name: value for name, value in data.items() if name != SEAL}
    return hashlib.blake2b(msgspec.json.encode((path, plain), order="deterministic"), digest_size=12).hexdigest()


def encode(record: Record) -> dict[str, Value]:
    """A record as a document: DOF as integers, enumerations as their words, moments as timestamps."""
    return cast(dict[str, Value], msgspec.to_builtins(record, builtin_types=(datetime, bytes), enc_hook=_encode_dof))


def _encode_dof(value: Any) -> int:
    if isinstance(value, Dof):
        return value.units
    raise NotImplementedError(f"a document has no form for {type(value).__name__}")


def _decode_dof(wanted: type[Any], value: Any) -> Any:
    if wanted is Dof:
        return Dof(value)
    raise NotImplementedError(f"a document has no form for {wanted.__name__}")
