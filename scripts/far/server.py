"""A server of files that speaks as much of S3 as a dataset takes, some milliseconds away.

Whole objects, ranges, listings, and uploads in one part or several; keys are not looked at. Bodies
go from the page cache to the socket by ``sendfile``, so that it costs little beside its clients. An
answer comes a round trip after its request, and on a new connection one more, for TCP's handshake;
the bandwidth is that of loopback, and connections need not gain speed first.

Run as ``python -m far.server FOLDER MILLISECONDS``, it prints its port and serves until it ends.
"""

import asyncio
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import uuid4
from xml.sax.saxutils import escape

LISTED_AT_ONCE = 1000
# Where parts of uploads lie.
UPLOADS = ".uploads"
XML = "application/xml"


class Server:
    """Serves the folders of a folder as buckets.

    Parameters
    ----------
    folder
        Its folders are the buckets.
    seconds
        Of a round trip.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        self._folder, self._seconds = folder, seconds

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer what is asked on one connection."""
        try:
            await asyncio.sleep(self._seconds)
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.decode("latin-1").split("\r\n")
                if _headers(lines).get("expect") == "100-continue":
                    await asyncio.sleep(self._seconds)
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                body = await reader.readexactly(int(_headers(lines).get("content-length", 0)))
                await asyncio.sleep(self._seconds)
                await self._answer(lines, body, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, lines: list[str], body: bytes, writer: asyncio.StreamWriter) -> None:
        method, target, _ = lines[0].split(" ")
        headers, url = _headers(lines), urlsplit(target)
        if method in ("PUT", "POST", "DELETE"):
            told = self._change(method, unquote(url.path), parse_qs(url.query, True), body)
            file = self._folder / unquote(url.path).lstrip("/")
            tag = _tag(file) if file.is_file() else '"of-a-part"'
            length = {"Content-Length": len(told), "Content-Type": XML, "ETag": tag}
            self._head(writer, 204 if method == "DELETE" else 200, length)
            writer.write(told)
        elif "list-type" in url.query:
            listing = self._listing(unquote(url.path).strip("/"), parse_qs(url.query)).encode()
            self._head(writer, 200, {"Content-Length": len(listing), "Content-Type": XML})
            writer.write(listing)
        else:
            file = self._folder / unquote(url.path).lstrip("/")
            await self._object(file, headers.get("range", ""), method == "GET", writer)
        await writer.drain()

    def _change(self, method: str, path: str, query: dict[str, list[str]], body: bytes) -> bytes:
        """Write or remove an object, or a part of one that is there when all parts are."""
        file = self._folder / path.lstrip("/")
        parts = self._folder / UPLOADS / query.get("uploadId", [""])[0]
        if method == "DELETE":
            file.unlink(missing_ok=True)
        elif "uploads" in query:
            upload = uuid4().hex
            (self._folder / UPLOADS / upload).mkdir(parents=True)
            told = f"<UploadId>{upload}</UploadId>"
            return f"<InitiateMultipartUploadResult>{told}</InitiateMultipartUploadResult>".encode()
        elif method == "PUT" and "uploadId" in query:
            (parts / f"{int(query['partNumber'][0]):05d}").write_bytes(body)
        elif method == "POST":
            first, *others = sorted(parts.iterdir())
            with first.open("ab") as whole:
                for part in others:
                    with part.open("rb") as content:
                        shutil.copyfileobj(content, whole, 2**20)
            file.parent.mkdir(parents=True, exist_ok=True)
            first.rename(file)
            shutil.rmtree(parts)
            told = f"<ETag>{escape(_tag(file))}</ETag>"
            return f"<CompleteMultipartUploadResult>{told}</CompleteMultipartUploadResult>".encode()
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(body)
        return b""

    async def _object(
        self, file: Path, wanted: str, has_body: bool, writer: asyncio.StreamWriter
    ) -> None:
        if not file.is_file():
            body = b"<Error><Code>NoSuchKey</Code><Message>no such key</Message></Error>"
            self._head(writer, 404, {"Content-Length": len(body), "Content-Type": XML})
            writer.write(body if has_body else b"")
            return
        told = file.stat()
        size, first, stop = told.st_size, 0, told.st_size
        if wanted:
            begin, _, end = wanted.removeprefix("bytes=").partition("-")
            first = int(begin) if begin else max(0, size - int(end))
            stop = min(size, int(end) + 1) if begin and end else size
        headers = {
            "Content-Length": stop - first,
            "Content-Range": f"bytes {first}-{stop - 1}/{size}",
            "ETag": _tag(file),
            "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT",
        }
        self._head(writer, 206 if wanted else 200, headers)
        if has_body and stop > first:
            await writer.drain()
            with file.open("rb") as content:
                loop = asyncio.get_running_loop()
                await loop.sendfile(writer.transport, content, first, stop - first)

    @staticmethod
    def _head(writer: asyncio.StreamWriter, status: int, headers: dict[str, object]) -> None:
        lines = [f"HTTP/1.1 {status} as asked", *(f"{name}: {headers[name]}" for name in headers)]
        writer.write("\r\n".join([*lines, "", ""]).encode())

    def _listing(self, bucket: str, query: dict[str, list[str]]) -> str:
        prefix, delimiter = query.get("prefix", [""])[0], query.get("delimiter", [""])[0]
        after = query.get("continuation-token", [""])[0]
        names = [name for name in self._names(bucket, prefix, delimiter) if name > after]
        part, rest = names[:LISTED_AT_ONCE], names[LISTED_AT_ONCE:]
        entries = "".join(self._entry(bucket, name) for name in part)
        more = f"<NextContinuationToken>{escape(part[-1])}</NextContinuationToken>" if rest else ""
        return (
            '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(part)}</KeyCount>"
            f"<IsTruncated>{str(bool(rest)).lower()}</IsTruncated>{more}{entries}</ListBucketResult>"
        )

    def _names(self, bucket: str, prefix: str, delimiter: str) -> list[str]:
        """Return the keys of a prefix in order, and where they are delimited those of folders."""
        root = self._folder / bucket
        above = root / prefix.rpartition("/")[0]
        if delimiter:
            found: Iterator[Path] = above.iterdir() if above.is_dir() else iter(())
        else:
            found = (path for path in above.rglob("*") if path.is_file())
        names = (f"{path.relative_to(root)}{'/' if path.is_dir() else ''}" for path in found)
        return sorted(name for name in names if name.startswith(prefix))

    def _entry(self, bucket: str, name: str) -> str:
        if name.endswith("/"):
            return f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>"
        told, tag = (self._folder / bucket / name).stat(), _tag(self._folder / bucket / name)
        return (
            f"<Contents><Key>{escape(name)}</Key><Size>{told.st_size}</Size>"
            f"<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>{escape(tag)}</ETag>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
        )


def _tag(file: Path) -> str:
    told = file.stat()
    return f'"{told.st_mtime_ns:x}-{told.st_size:x}"'


def _headers(lines: list[str]) -> dict[str, str]:
    pairs = (line.partition(":") for line in lines[1:] if line)
    return {name.lower(): value.strip() for name, _, value in pairs}


async def run(folder: Path, milliseconds: float) -> None:
    """Serve on a free port of loopback, which is printed."""
    # There and back again.
    served = Server(folder, 2 * milliseconds / 1000)
    limits = {"backlog": 256, "limit": 2**20}
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0, **limits)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), float(sys.argv[2])))
