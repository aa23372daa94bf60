"""What goes between processes: records, and the packets that carry them through a pipe.

A record is one published message: seven bytes of header, the channel's name, the payload. Records follow each other
without a gap, and a stream of them may be cut anywhere; ``Decoder`` puts them together again.

A packet is a piece of such a stream, at most ``PACKET_SIZE`` bytes with its header, so that the kernel takes it whole
or not at all. The header names its writer's seat (where one process lives at a time) and the *generations* of writer
and reader: how many processes have had their seats so far. A stream belongs to one generation of each. So a new
process never parses the rest of a record whose beginning its dead predecessor took, nor appends its own records to
half of one.

Pure: bytes in, records out.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from uwsgi_ws.errors import ChannelError
from uwsgi_ws.protocol.plain import plain_str

__all__ = [
    "BELL",
    "BODY_SIZE",
    "COUNT",
    "GAP",
    "KEEPING",
    "OVERHEAD",
    "PACKET_SIZE",
    "PRESENCE",
    "UNCOMPRESSED",
    "Assembler",
    "Decoder",
    "Record",
    "decode_name",
    "encode_name",
    "encode_packet",
    "encode_record",
    "plain_name",
]

#: Longest write that a pipe takes whole or not at all: PIPE_BUF on Linux (pipe(7)).
PACKET_SIZE = 4_096

_RECORD = Struct("<BHI")  # opcode, bytes of the name, bytes of the payload
_PACKET = Struct("<HII")  # the writer's seat, its generation, the reader's generation
#: Added to the opcode of a message that no client gets compressed.
UNCOMPRESSED = 32
# Of text and of binary messages (RFC 6455 11.8), and of those that are not compressed.
_OPCODES = (1, 2, UNCOMPRESSED + 1, UNCOMPRESSED + 2)
#: The opcode of a record that is no message, but says that some of its channel may be missing here. Workers alone write
#: such records.
GAP = 0
#: The opcode of a record that is no message, but says that one was kept; see ``local_history``.
BELL = 3
#: The opcode of a record of presence, which is no message for applications either; see ``roster``.
PRESENCE = 5
#: Added to the opcode of a message that says how many of its channel are kept, in four bytes before the payload.
#: Programs that are no workers write such records.
KEEPING = 16
COUNT = Struct("<I")
_OPCODES_OF_OTHERS = (*_OPCODES, *(KEEPING + opcode for opcode in _OPCODES))
_MAX_NAME = 65_535

#: Bytes of a record beside its payload, at most.
OVERHEAD = _RECORD.size + _MAX_NAME
#: Bytes of a stream that a packet carries.
BODY_SIZE = PACKET_SIZE - _PACKET.size


class Record(NamedTuple):
    """A published message, of opcode 1 for text in UTF-8, or 2 for binary, perhaps with a flag; or a ``GAP``."""

    channel: str
    opcode: int
    payload: bytes


def plain_name(channel: str) -> str:
    """Return a channel's name as a key for dicts: the application's may be a subclass that compares as it likes.

    Raises:
        TypeError: it is no str.
    """
    return plain_str(channel, "the name of a channel is a str")


def encode_name(channel: str) -> bytes:
    """Return a channel's name as it goes over the wire.

    Any str will do, surrogates that stand for undecodable bytes included.

    Raises:
        TypeError: it is no str.
        ValueError: it is longer than 65,535 bytes.
    """
    channel = plain_name(channel)
    try:
        name = channel.encode()
    except UnicodeEncodeError:
        name = channel.encode("utf-8", "surrogatepass")
    if len(name) > _MAX_NAME:
        raise ValueError(f"the name of a channel has {len(name)} bytes, {_MAX_NAME} allowed")
    return name


def decode_name(name: bytes) -> str:
    """Undo ``encode_name``.

    Raises:
        ChannelError: it is no such name.
    """
    try:
        return name.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise ChannelError("not a record: the channel's name is not UTF-8") from None


def encode_record(name: bytes, opcode: int, payload: bytes) -> bytes:
    """Return a record.

    Args:
        name: Of ``encode_name``.
        opcode: 1 or 2, as it is or with ``KEEPING``, ``UNCOMPRESSED`` or both added; ``GAP``, ``BELL`` or ``PRESENCE``.
        payload: Of any length; the reader has a limit.
    """
    return b"".join((_RECORD.pack(opcode, len(name), len(payload)), name, payload))


def encode_packet(writer: int, generation: int, reader_generation: int, body: bytes | bytearray) -> bytes:
    """Return a packet around ``body``, at most ``BODY_SIZE`` bytes of a stream."""
    return _PACKET.pack(writer, generation, reader_generation) + body


class Decoder:
    """Turns one stream, cut anywhere, into records.

    Holds one unfinished record at most.

    Args:
        max_size: Bytes allowed in a payload.
        is_of_worker: Whether records may be such as workers alone write.

    Attributes:
        error: What makes it no stream of records, once that has come; nothing behind it is looked at.
    """

    __slots__ = ("_buffer", "_max_size", "_needed", "_opcodes", "error")

    def __init__(self, max_size: int, *, is_of_worker: bool = False) -> None:
        self._opcodes = (*_OPCODES, GAP, BELL, PRESENCE) if is_of_worker else _OPCODES_OF_OTHERS
        self._buffer = bytearray()
        self._needed = _RECORD.size  # bytes without which there is nothing to be done
        self._max_size = max_size
        self.error: ChannelError | None = None

    @property
    def is_idle(self) -> bool:
        """Whether the stream may end here: no record is unfinished."""
        return not self._buffer

    def feed(self, data: bytes) -> list[Record]:
        """Take bytes; return the records that they complete, in order: those before an ``error``, too.

        Raises:
            ChannelError: there was an error before.
        """
        if self.error is not None:
            raise self.error
        buffer = self._buffer
        buffer += data
        records: list[Record] = []
        size = len(buffer)
        if size < self._needed:
            return records
        try:
            begin = self._read_records(records)
        except ChannelError as exc:
            self.error = exc
            exc.__traceback__ = None  # its frames know the records
            begin = size
        del buffer[:begin]
        return records

    def _read_records(self, records: list[Record]) -> int:
        """Append the whole records of the buffer; return where the next one begins."""
        buffer = self._buffer
        size = len(buffer)
        begin = 0
        with memoryview(buffer) as view:
            while size - begin >= _RECORD.size:
                opcode, name_size, payload_size = _RECORD.unpack_from(view, begin)
                if opcode not in self._opcodes:
                    raise ChannelError(f"not a record: opcode {opcode}")
                if payload_size > self._max_size + (COUNT.size if opcode & KEEPING else 0):
                    raise ChannelError(f"message of {payload_size} bytes, {self._max_size} allowed")
                name_end = begin + _RECORD.size + name_size
                end = name_end + payload_size
                if end > size:
                    self._needed = end - begin
                    break
                name = decode_name(bytes(view[begin + _RECORD.size : name_end]))
                records.append(Record(name, opcode, bytes(view[name_end:end])))
                begin = end
            else:
                self._needed = _RECORD.size
        return begin


class Assembler:
    """Sorts the packets of one inbox by their writers, and turns them into records.

    Args:
        generation: The reader's, from 1; packets for another are its predecessor's, and dropped.
        max_size: Bytes allowed in a payload.

    Attributes:
        stale: Packets dropped because they were a predecessor's, or came after what was no record.
        torn: Records lost because their writer died before it had written all of them.
        error: Why the rest of a writer's stream is dropped, for the reader to take.
    """

    __slots__ = ("_generation", "_max_size", "_streams", "error", "stale", "torn")

    def __init__(self, generation: int, max_size: int) -> None:
        self._generation = generation
        self._max_size = max_size
        # By the writer's seat, with its generation; without a decoder when it is not worth reading any more.
        self._streams: dict[int, tuple[int, Decoder | None]] = {}
        self.stale = 0
        self.torn = 0
        self.error: ChannelError | None = None

    def feed(self, packet: bytes) -> list[Record]:
        """Take a packet; return the records that it completes: those before an ``error``, too."""
        writer, generation, reader_generation = _PACKET.unpack_from(packet)
        if reader_generation != self._generation:
            self.stale += 1
            return []
        known, decoder = self._streams.get(writer, (0, None))
        if known != generation:
            if decoder is not None and not decoder.is_idle:
                self.torn += 1
            decoder = Decoder(self._max_size, is_of_worker=True)
            self._streams[writer] = (generation, decoder)
        if decoder is None:
            self.stale += 1
            return []
        records = decoder.feed(packet[_PACKET.size :])
        if decoder.error is not None:
            self.error = decoder.error
            self._streams[writer] = (generation, None)
        return records
