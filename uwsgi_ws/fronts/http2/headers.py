"""Header blocks by the hpack library, and a memo of those that come or go again and again.

What a block means depends on the table that both sides keep of the fields sent before (RFC 7541 2.3.2). A block that
puts nothing into that table means the same until another one does: so it is unpacked, or packed, once. That is nearly
every block of a connection that has been in use for a while.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from h2.errors import ErrorCodes
from h2.exceptions import DenialOfServiceError, ProtocolError
from h2.utilities import HeaderValidationFlags, normalize_inbound_headers, validate_headers
from hpack import Decoder, Encoder, HPACKError, OversizedHeaderListError
from hpack.table import HeaderTable

from uwsgi_ws.protocol.http.http2 import Head

__all__ = ["CompressionError", "FieldDecoder", "FieldEncoder", "FieldList"]

#: Blocks that are kept, for each direction of a connection; the bytes and fields of the largest one.
_BLOCKS, _BLOCK_SIZE, _FIELDS = 16, 512, 64

_REQUEST = HeaderValidationFlags(is_client=False, is_trailer=False, is_response_header=False, is_push_promise=False)
_TRAILERS = HeaderValidationFlags(is_client=False, is_trailer=True, is_response_header=False, is_push_promise=False)


class CompressionError(ProtocolError):
    """A block cannot be unpacked; h2 has no error of its own for it (RFC 9113 4.3)."""

    error_code = ErrorCodes.COMPRESSION_ERROR


class _Table(HeaderTable):
    """Counts its changes."""

    changes = 0

    def add(self, name: bytes, value: bytes) -> None:
        self.changes += 1
        super().add(name, value)

    @property
    def maxsize(self) -> int:
        return self._maxsize

    @maxsize.setter
    def maxsize(self, size: int) -> None:
        self.changes += 1
        HeaderTable.maxsize.fset(self, size)  # type: ignore[attr-defined]  # a property's


class FieldList(list[tuple[bytes, bytes]]):
    """The fields of one block as they came.

    Attributes:
        head: What the front has made of them, if it may use that again.
    """

    __slots__ = ("_request", "head")

    def __init__(self, fields: Iterable[tuple[bytes, bytes]]) -> None:
        super().__init__(fields)
        self.head: Head | None = None
        self._request: FieldList | None = None

    def as_request(self) -> FieldList:
        """Return a request's fields, its cookies as one.

        Raises:
            h2.exceptions.ProtocolError: they make no request.
        """
        if self._request is None:
            self._request = FieldList(validate_headers(normalize_inbound_headers(self, _REQUEST), _REQUEST))
        return self._request

    def as_trailers(self) -> list[Any]:
        """Return the fields behind a body.

        Raises:
            h2.exceptions.ProtocolError: they may not stand there.
        """
        return list(validate_headers(normalize_inbound_headers(self, _TRAILERS), _TRAILERS))


class FieldDecoder(Decoder):
    """Unpacks the peer's blocks.

    Attributes:
        fields: Of the last block.
    """

    header_table: _Table

    def __init__(self) -> None:
        super().__init__()
        self.header_table = _Table()
        self.fields = FieldList(())
        self._known: dict[bytes, FieldList] = {}
        self._known_at = 0  # the table's changes then

    def decode(self, data: bytes, raw: bool = False) -> Any:
        """Return a FieldList; see hpack, but always ``raw``.

        Raises:
            CompressionError: it makes no fields.
            h2.exceptions.DenialOfServiceError: it makes too many.
        """
        table = self.header_table
        if self._known_at == table.changes:
            fields = self._known.get(data)
            if fields is not None:
                self.fields = fields
                return fields
        before = table.changes
        try:
            self.fields = fields = FieldList(super().decode(data, True))
        except OversizedHeaderListError as exc:
            raise DenialOfServiceError("the header fields are too large") from exc
        except HPACKError as exc:
            raise CompressionError("the header block is broken") from exc
        if before == table.changes and len(data) <= _BLOCK_SIZE and len(fields) <= _FIELDS:
            if self._known_at != before or len(self._known) >= _BLOCKS:
                self._known.clear()
                self._known_at = before
            self._known[data] = fields
        return fields


class FieldEncoder(Encoder):
    """Packs our blocks."""

    header_table: _Table

    def __init__(self) -> None:
        super().__init__()
        self.header_table = _Table()
        self._known: dict[tuple[tuple[bytes, bytes], ...], bytes] = {}
        self._known_at = 0

    @property
    def header_table_size(self) -> int:
        """The largest size of the table."""
        return self.header_table.maxsize

    @header_table_size.setter
    def header_table_size(self, size: int) -> None:
        # hpack would forget to announce a size that is set twice.
        is_pending = self.header_table.resized
        self.header_table.maxsize = size
        if is_pending or self.header_table.resized:
            self.header_table.resized = True
            # RFC 7541 4.2: the smallest since the last block, then the last.
            smallest = min([size, *self.table_size_changes])
            self.table_size_changes = [smallest, size] if smallest < size else [size]

    def encode(self, headers: Iterable[Any], huffman: bool = True) -> bytes:
        """See hpack; the fields are pairs of bytes."""
        fields = tuple(headers)
        table = self.header_table
        if self._known_at == table.changes:
            block = self._known.get(fields)
            if block is not None:
                return block
        before = None if table.resized else table.changes  # this once the new size is told with it
        block = super().encode(fields, huffman)
        if before == table.changes and len(block) <= _BLOCK_SIZE and len(fields) <= _FIELDS:
            if self._known_at != before or len(self._known) >= _BLOCKS:
                self._known.clear()
                self._known_at = before
            self._known[fields] = block
        return block
