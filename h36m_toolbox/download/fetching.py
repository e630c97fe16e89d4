"""One file from the web: resumed where it broke off, checked before it gets its name, a session cookie kept safe.

Standard library only, TLS always verified. What has arrived lies in `.NAME.part` beside the target, with a note of what
it is a part of (`.NAME.part.json`), so an interrupted download goes on where it stopped if the server still has the
same file: RFC 9110, sections 13.1.5 (If-Range) and 14 (Range). `NAME` itself is there whole and checked, or not at all.
"""

from __future__ import annotations

import http.client
import logging
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from h36m_toolbox import __version__
from h36m_toolbox.download.parts import Digests, PartNote, claimed, digests_of, forget, note_path, read_note, write_note
from h36m_toolbox.download.session_cookie import HOW_TO_GIVE_THE_COOKIE, checked_cookie
from h36m_toolbox.errors import H36MError

_BLOCK = 1 << 20
_LONGEST_WAIT_S = 60.0
_AT_HOME = ("127.0.0.1", "localhost", "::1")
_BUSY = (408, 425, 429, 500, 502, 503, 504)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fetched:
    """A file that is there and is what was asked for."""

    path: Path
    size: int  # bytes
    sha256: str
    checked: tuple[str, ...]  # what it was compared with: "size", "sha256", "md5"; () where nothing is published
    kept: bool  # it was there already


@dataclass(frozen=True)
class _Wanted:
    """What the file must be."""

    sha256: str
    md5s: tuple[str, ...]
    size: int | None

    @property
    def checks(self) -> tuple[str, ...]:
        given = {"size": self.size is not None, "sha256": bool(self.sha256), "md5": bool(self.md5s)}
        return tuple(name for name, there in given.items() if there)

    def fault(self, found: Digests) -> str:
        """How a file differs from this; "" if it does not."""
        if self.size is not None and found.size != self.size:
            return f"{found.size} bytes instead of {self.size}"
        if self.sha256 and found.sha256 != self.sha256:
            return f"sha256 {found.sha256} instead of {self.sha256}"
        if self.md5s and found.md5 not in self.md5s:
            return f"md5 {found.md5} instead of {' or '.join(self.md5s)}"
        return ""


@dataclass(frozen=True)
class _Job:
    """One download under way."""

    url: str
    part: Path
    wanted: _Wanted
    with_cookie: bool
    opener: urllib.request.OpenerDirector
    progress: Callable[[int, int | None], None] | None
    timeout_s: float


class _TransientError(Exception):
    """May go well next time; `wait_s` is how long the server asks to wait, if it does."""

    def __init__(self, what: str, wait_s: float | None = None) -> None:
        super().__init__(what)
        self.wait_s = wait_s


def fetch(
    url: str,
    target: Path,
    *,
    sha256: str = "",
    md5s: tuple[str, ...] = (),
    size: int | None = None,
    cookie: str = "",
    retries: int = 5,
    progress: Callable[[int, int | None], None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
    timeout_s: float = 60.0,
) -> Fetched:
    """Download `url` to `target`, unless it is there already and is right.

    `sha256`, any one of `md5s` and `size` (bytes) are compared before the file gets its name; a file already there that
    differs is replaced only then. `cookie` ("PHPSESSID=...") goes to the scheme, host and port of `url` alone, never to
    one it redirects to and never over plain http; it appears in no message. `retries` is how often to try again without
    a byte gained, waiting 1, 2, 4, ... s in between; `progress` is called with the bytes done and those of the whole
    (None: the server does not say). Raises H36MError for an answer that will not get better: an expired session (a web
    page instead of the file), 401, 403, 404, a certificate that cannot be verified, a wrong size or checksum.
    """
    target = Path(target)
    wanted = _Wanted(sha256.lower(), tuple(md5.lower() for md5 in md5s), size)
    _check_address(url, bool(cookie))
    opener = _opener(url, checked_cookie(cookie, "the cookie given"))
    if target.is_file():
        found = digests_of(target)
        fault = wanted.fault(found) or ("a web page, saved under this name" if _starts_as_web_page(target) else "")
        if not fault:
            return Fetched(target, found.size, found.sha256, wanted.checks, kept=True)
        _log.warning("%s: %s; downloading it again", target, fault)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    with claimed(part):
        found = _brought(_Job(url, part, wanted, bool(cookie), opener, progress, timeout_s), retries, sleep)
        part.replace(target)
        note_path(part).unlink(missing_ok=True)
    return Fetched(target, found.size, found.sha256, wanted.checks, kept=False)


def _brought(job: _Job, retries: int, sleep: Callable[[float], None]) -> Digests:
    """Bring the part to the whole, checked file, as often as it takes."""
    part, tries, most, wrong = job.part, 0, job.part.stat().st_size, ""
    while True:
        try:
            sound = _transfer(job)
            found = digests_of(part)
            fault = job.wanted.fault(found)
            if not fault:
                return found
            forget(part)
            if sound or found.sha256 == wrong:
                raise H36MError(f"{job.url}: arrived with {fault}; nothing was written under the file's name")
            wrong = found.sha256
            raise _TransientError(fault)
        except _TransientError as error:
            size = part.stat().st_size
            tries = 1 if size > most else tries + 1
            most = max(most, size)
            if tries > retries:
                raise H36MError(
                    f"{job.url}: {error}, {tries} times in a row; what has arrived is kept ({part}), "
                    "run the same command later to go on"
                ) from error
            _log.info("%s: %s; trying again (%d of %d)", job.url, error, tries, retries)
            sleep(min(2.0 ** (tries - 1) if error.wait_s is None else error.wait_s, _LONGEST_WAIT_S))


def _check_address(url: str, with_cookie: bool) -> None:
    address = urlsplit(url)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise H36MError(f"{url}: not an http or https address")
    if with_cookie and address.scheme == "http" and address.hostname not in _AT_HOME:
        raise H36MError(f"{url}: a session cookie does not travel over plain http; use the https address")


def _opener(url: str, cookie: str) -> urllib.request.OpenerDirector:
    context = ssl.create_default_context()
    return urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _Courier(url, cookie))


class _Courier(urllib.request.HTTPRedirectHandler):
    """Follows redirects, hands the cookie to the first address's own host only, and never leaves https."""

    def __init__(self, url: str, cookie: str) -> None:
        self.home, self.cookie = _origin(url), cookie

    def http_request(self, request: urllib.request.Request) -> urllib.request.Request:
        if self.cookie and _origin(request.full_url) == self.home:
            request.add_unredirected_header("Cookie", self.cookie)
        return request

    https_request = http_request

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme != "https":
            raise H36MError(f"{req.full_url}: redirects from https to {newurl}, which is not encrypted; not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _origin(url: str) -> tuple[str, str | None, int]:
    address = urlsplit(url)
    return address.scheme, address.hostname, address.port or {"https": 443}.get(address.scheme, 80)


def _transfer(job: _Job) -> bool:
    """Bring the part to the end of the file.

    Returns whether it must be what the server has: one answer of known length; then a wrong checksum is final.
    """
    start, noted = job.part.stat().st_size, read_note(job.part)
    if noted is None or noted.url != job.url or not (noted.validator or noted.total):
        start = 0
    elif start and start == noted.total:
        return False
    request = urllib.request.Request(job.url, headers={"User-Agent": f"h36m/{__version__}"})
    if start and noted:
        request.add_header("Range", f"bytes={start}-")
        if noted.validator:
            request.add_header("If-Range", noted.validator)
    with _answer(job, request) as response:
        first, offered = _offer(response, job.url)
        if first and (first != start or noted is None or not offered.is_of(noted)):
            forget(job.part)
            raise _TransientError("the file on the server has changed", wait_s=0.0)
        if None not in (job.wanted.size, offered.total) and offered.total != job.wanted.size:
            raise H36MError(f"{job.url}: offers {offered.total} bytes instead of {job.wanted.size}: another file")
        note = noted if first and noted else offered
        note = replace(note, total=note.total or offered.total or job.wanted.size)
        done = _receive(job, response, first, note)
    if note.total is not None and done < note.total:
        raise _TransientError(f"the connection broke off after {done} of {note.total} bytes")
    return not first and note.total is not None


def _receive(job: _Job, response: http.client.HTTPResponse, first: int, note: PartNote) -> int:
    """Write an answer's bytes to the part, from byte `first` on; returns how long the part is then."""
    block = _read(response.read, 512)
    if not first and _is_web_page(block):
        raise _web_page(job)
    done = first
    with job.part.open("r+b", buffering=0) as file:  # what was counted survives a killed process
        file.seek(first)
        file.truncate()
        write_note(job.part, note)  # not before: it must never speak of an older version's bytes
        while block:
            file.write(block)
            done += len(block)
            if job.progress:
                job.progress(done, note.total)
            block = _read(response.read1, _BLOCK)
    return done


@contextmanager
def _answer(job: _Job, request: urllib.request.Request) -> Iterator[http.client.HTTPResponse]:
    """The server's answer with a file in it; everything else raises."""
    try:
        response = job.opener.open(request, timeout=job.timeout_s)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:
            forget(job.part)
            raise _TransientError("the file on the server has changed", wait_s=0.0) from None
        raise _refusal(error, job) from None
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise H36MError(
                f"{job.url}: the server's certificate cannot be verified ({reason.verify_message}), so nothing was "
                "sent; update your certificates, or download the file with a browser"
            ) from None
        raise _TransientError(f"no answer ({reason or type(error).__name__})") from None
    with response:
        if response.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
            raise _web_page(job)
        yield response


def _refusal(error: urllib.error.HTTPError, job: _Job) -> Exception:
    if error.code in _BUSY:
        asked = error.headers.get("Retry-After", "")
        wait_s = float(asked) if asked.isdecimal() else None
        return _TransientError(f"the server is busy or broken ({error.code})", wait_s)
    if error.code in (401, 403) or (error.code < 400 and job.with_cookie):
        # a logged-out session of the official site redirects in circles: h36m-fetch, issue 1
        advice = f"your session has expired, or has no right to this file; {HOW_TO_GIVE_THE_COOKIE}"
        return H36MError(f"{job.url}: refused ({error.code}); {advice if job.with_cookie else 'it wants a login'}")
    if error.code in (404, 410):
        return H36MError(f"{job.url}: is not there ({error.code}); look on the publisher's page whether it has moved")
    return H36MError(
        f"{job.url}: the server answered {error.code} {http.client.responses.get(error.code, '')}".rstrip()
    )


def _web_page(job: _Job) -> H36MError:
    came = f"{job.url}: a web page came instead of the file"
    if job.with_cookie:
        return H36MError(f"{came}: your session has expired; {HOW_TO_GIVE_THE_COOKIE}")
    return H36MError(f"{came}; open the address in a browser and download it there")


def _is_web_page(block: bytes) -> bool:
    return block[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html"))


def _starts_as_web_page(path: Path) -> bool:
    with path.open("rb") as file:
        return _is_web_page(file.read(512))


def _offer(response: http.client.HTTPResponse, url: str) -> tuple[int, PartNote]:
    """At which byte an answer begins, and the version of the file that it is of."""
    headers = response.headers
    if response.status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", "").strip())
        if found is None:
            raise H36MError(f"{url}: answers a request for a part without saying which; get it with a browser")
        first, total = int(found[1]), found[2]
    else:
        first, total = 0, headers.get("Content-Length", "")
    size = int(total) if total.isdecimal() else None
    return first, PartNote(url, headers.get("ETag", ""), headers.get("Last-Modified", ""), size)


def _read(read: Callable[[int], bytes], most: int) -> bytes:
    try:
        return read(most)
    except (OSError, http.client.HTTPException) as error:
        raise _TransientError(f"the connection broke off ({error or type(error).__name__})") from None
