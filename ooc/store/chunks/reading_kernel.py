"""Stored chunks into the slab in one compiled call, which never holds the interpreter's lock.

Requests are put in flight in two batches, as in `ooc.store.chunks.files`: while one is read, what
the other one brought is verified and decoded, straight to where its rows go. It judges nothing:
what is not as it should be is left, and said, for `ooc.store.chunks.native` to read again and to
tell what is wrong.
"""

import numpy as np
from numba import types

from ooc.core.compiler import array_at, by_address, lean_kernel, small_kernel
from ooc.store.chunks.asynchronous_io import DEPTH
from ooc.store.chunks.c_libraries import ALL_BITS, BLOSC, PLAIN, ZSTD
from ooc.store.chunks.files import ALIGNMENT, LARGEST_GAP

# Columns of `files`: a descriptor, -1 where it is not open; where its entries are, and its bytes.
DESCRIPTOR, ENTRIES, BYTES = range(3)
# Columns of `chunks`: an open file, where the stored bytes begin, how many, where values go. Until
# they are found: a row of `files`, and which of its entries it is.
FILE, START, SIZE, TARGET = range(4)
# Columns of `batches`: memory, its size, the context of asynchronous I/O (0: there is none), and
# its control blocks, pointers to them, and events.
MEMORY, ROOM, CONTEXT, BLOCKS, POINTERS, EVENTS = range(6)
# Places of `calls`: addresses of functions, and numbers of the system's.
SYSCALL, PREAD, ADVISE, DECODE, CHECKSUM, SUBMIT, GET_EVENTS = range(7)
# Places of `how`: a decoder's kind, a chunk's bytes, whether the page cache is dropped behind, the
# most bytes that a chunk may have stored, and what blosc keeps of this thread.
KIND, DECODED, DROPS, MOST, KEPT = range(5)
# What becomes of a chunk: above, an errno.
DONE, LEFT = 0, -1

# Bytes of the first requests, for which nothing is done but to wait; then twice as many, and so on.
_FIRST_ROOM = 256 * 2**10
_BLOCK_WORDS, _EVENT_WORDS = 8, 4
_EAGAIN, _DONTNEED = 11, 4
# A wait is broken off by a signal; what breaks it off so often is none.
_MOST_WAITS = 10_000

_long = types.int64
_system = by_address(lambda _: _long(_long, _long, _long, _long, _long, _long))
_pread = by_address(lambda _: _long(types.int32, _long, _long, _long))
_advise = by_address(lambda _: types.int32(types.int32, _long, _long, types.int32))
_checksum = by_address(lambda _: types.uint32(types.uint32, _long, _long))
_blosc = by_address(lambda _: types.int32(_long, _long, types.int32, _long, types.int32))
_zstd = by_address(lambda _: _long(_long, _long, _long, _long))
_lz4 = by_address(lambda _: types.int32(_long, _long, types.int32, types.int32))


@lean_kernel
def read_chunks(calls, how, batches, files, chunks, places, requests, found):  # type: ignore[no-untyped-def]
    """Read, verify and decode chunks; return how many are left, -1 where a wait did not end.

    Parameters
    ----------
    calls, how, batches, files, chunks
        int64, see the names of their places above; two batches of one size, of which the largest
        chunk with its alignment fits one.
    places
        (2, chunks) int64, to work with: where in its batch's memory a chunk is, and its request.
    requests
        (2, DEPTH, 5) int64, to work with: file, first byte, length, place and bytes read.
    found
        (chunks,) int64, -1: what became of each.
    """
    _find(how, files, chunks)
    begun, left, now, room = 0, 0, 0, _FIRST_ROOM
    stop, count = _fill(batches, now, chunks, begun, places, requests, room)
    _submit(calls, batches, now, requests, count)
    while begun < len(chunks):
        # The next batch is on its way while this one is used.
        room = min(2 * room, batches[now, ROOM])
        following, next_count = _fill(batches, 1 - now, chunks, stop, places, requests, room)
        _submit(calls, batches, 1 - now, requests, next_count)
        if not _collect(calls, how, batches, now, requests, count):
            return -1
        for chunk in range(begun, stop):
            place, number, size = places[0, chunk], places[1, chunk], chunks[chunk, SIZE]
            if chunks[chunk, FILE] < 0:
                left += 1
                continue
            bytes_read = requests[now, number, 4]
            found[chunk] = -bytes_read if bytes_read < 0 else LEFT
            if bytes_read >= place - requests[now, number, 3] + size:
                source = batches[now, MEMORY] + place
                if _decode(calls, how, source, size, chunks[chunk, TARGET]):
                    found[chunk] = DONE
            left += found[chunk] != DONE
        begun, stop, count, now = stop, following, next_count, 1 - now
    return left


@lean_kernel
def decode_chunks(calls, how, chunks):  # type: ignore[no-untyped-def]
    """Verify and decode chunks that are in memory; return how many are not as they should be.

    Parameters are those of `read_chunks`; a chunk begins at an address, and not in a file.
    """
    left = 0
    for chunk in range(len(chunks)):
        source, size, target = chunks[chunk, START], chunks[chunk, SIZE], chunks[chunk, TARGET]
        left += not _decode(calls, how, source, size, target)
    return left


@lean_kernel
def _find(how, files, chunks):  # type: ignore[no-untyped-def]
    """Look chunks up in their files' entries; one that is not there, or not inside, gets no file.

    An index that lies is told where its chunk is read alone; no sum can overflow.
    """
    for chunk in range(len(chunks)):
        file = chunks[chunk, FILE]
        address, end = files[file, ENTRIES] + 16 * chunks[chunk, START], files[file, BYTES]
        chunks[chunk, FILE] = -1
        if files[file, DESCRIPTOR] < 0:
            continue
        entry = array_at(address, (2,), np.int64(0))
        start, size = entry[0], entry[1]
        # Of no bytes at all no request is made: nothing would say that it has landed.
        if 0 <= start <= end and 0 < size <= min(end - start, how[MOST]):
            chunks[chunk, FILE], chunks[chunk, START] = files[file, DESCRIPTOR], start
            chunks[chunk, SIZE] = size


@lean_kernel
def _fill(batches, now, chunks, first, places, requests, room):  # type: ignore[no-untyped-def]
    """Make requests of the chunks from one on, until a room in a batch is full; neighbours share.

    Return the first chunk that is not in it, and how many requests there are.
    """
    used, count = 0, 0
    room = min(room, batches[now, ROOM])
    # With its alignment, what is no larger fits the room.
    largest = room - 2 * ALIGNMENT
    while first < len(chunks):
        if chunks[first, FILE] < 0:
            first += 1
            continue
        start, stop = chunks[first, START], chunks[first, START] + chunks[first, SIZE]
        last = first + 1
        while last < len(chunks) and chunks[last, FILE] == chunks[first, FILE]:
            gap, end = chunks[last, START] - stop, chunks[last, START] + chunks[last, SIZE]
            if gap < 0 or gap > LARGEST_GAP or end - start > largest:
                break
            last, stop = last + 1, end
        aligned = start // ALIGNMENT * ALIGNMENT
        length = (stop - aligned + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
        # A chunk that is larger than the room has a batch of its own.
        if count == DEPTH or (count and used + length > room):
            break
        for chunk in range(first, last):
            places[0, chunk] = used + chunks[chunk, START] - aligned
            places[1, chunk] = count
        requests[now, count, 0], requests[now, count, 1] = chunks[first, FILE], aligned
        requests[now, count, 2], requests[now, count, 3] = length, used
        requests[now, count, 4] = -_EAGAIN
        used, count, first = used + length, count + 1, last
    return first, count


@lean_kernel
def _submit(calls, batches, now, requests, count):  # type: ignore[no-untyped-def]
    """Put requests in flight; those that are refused stay as they were."""
    if batches[now, CONTEXT] == 0:
        return
    like = np.int64(0)
    blocks = array_at(batches[now, BLOCKS], (DEPTH * _BLOCK_WORDS,), like)
    for number in range(count):
        # struct iocb of linux/aio_abi.h; the operation is IOCB_CMD_PREAD, 0.
        block = number * _BLOCK_WORDS
        blocks[block] = number
        blocks[block + 2] = requests[now, number, 0] << 32
        blocks[block + 3] = batches[now, MEMORY] + requests[now, number, 3]
        blocks[block + 4] = requests[now, number, 2]
        blocks[block + 5] = requests[now, number, 1]
    done = 0
    while done < count:
        pointers = batches[now, POINTERS] + 8 * done
        taken = _system(
            calls[SYSCALL], (calls[SUBMIT], batches[now, CONTEXT], count - done, pointers, 0, 0)
        )
        if taken <= 0:
            break
        done += taken
    for number in range(done, count):
        requests[now, number, 2] = 0  # none is waited for


@lean_kernel
def _collect(calls, how, batches, now, requests, count):  # type: ignore[no-untyped-def]
    """Wait for what is in flight, or read it now; tell whether all has landed."""
    if batches[now, CONTEXT] == 0:
        for number in range(count):
            requests[now, number, 4] = _read(calls, how, batches, now, requests, number)
        return True
    pending, waits = 0, 0
    for number in range(count):
        pending += requests[now, number, 2] > 0
    events = array_at(batches[now, EVENTS], (DEPTH * _EVENT_WORDS,), np.int64(0))
    while pending:
        told = (calls[GET_EVENTS], batches[now, CONTEXT], pending, pending, batches[now, EVENTS], 0)
        landed = _system(calls[SYSCALL], told)
        for event in range(landed):
            # struct io_event: the number, its block, and what came of it.
            requests[now, events[event * _EVENT_WORDS], 4] = events[event * _EVENT_WORDS + 2]
        if landed > 0:
            pending -= landed
        waits += 1
        if waits > _MOST_WAITS:
            return False
    return True


@lean_kernel
def _read(calls, how, batches, now, requests, number):  # type: ignore[no-untyped-def]
    """Read a range now; return its bytes, or minus an errno, of which none is told here."""
    done = 0
    file, first = requests[now, number, 0], requests[now, number, 1]
    length = requests[now, number, 2]
    while done < length:
        memory = batches[now, MEMORY] + requests[now, number, 3] + done
        count = _pread(calls[PREAD], (file, memory, length - done, first + done))
        # The end of a file is no error: what was wanted may lie before it.
        if count <= 0:
            break
        done += count
    if how[DROPS]:
        _advise(calls[ADVISE], (file, first, length, _DONTNEED))
    return done


@lean_kernel
def _decode(calls, how, source, size, target):  # type: ignore[no-untyped-def]
    """Verify and decode a chunk; tell whether it is as it should be, to the last byte."""
    kind, wanted = how[KIND], how[DECODED]
    if calls[CHECKSUM]:
        size -= 4
        if size < 0:
            return False
        found = np.int64(_checksum(calls[CHECKSUM], (ALL_BITS, source, size))) ^ ALL_BITS
        if found != _word(source + size):
            return False
    if kind == PLAIN:
        if size != wanted:
            return False
        stored, out = array_at(source, (size,), np.uint8(0)), array_at(target, (size,), np.uint8(0))
        for place in range(size):
            out[place] = stored[place]
        return True
    # Sizes in headers are checked before a codec is trusted with a buffer.
    if kind == BLOSC:
        if size < 16 or _word(source + 4) != wanted or _word(source + 12) != size:
            return False
        return _blosc(calls[DECODE], (how[KEPT], source, size, target, wanted)) == wanted
    if kind == ZSTD:
        return _zstd(calls[DECODE], (target, wanted, source, size)) == wanted
    if size < 4 or _word(source) != wanted:
        return False
    return _lz4(calls[DECODE], (source + 4, target, size - 4, wanted)) == wanted


@small_kernel
def _word(address):  # type: ignore[no-untyped-def]
    """Return the four bytes at an address, the lowest first."""
    stored = array_at(address, (4,), np.uint8(0))
    low, high = np.int64(stored[1]) << 8, np.int64(stored[2]) << 16 | np.int64(stored[3]) << 24
    return np.int64(stored[0]) | low | high
