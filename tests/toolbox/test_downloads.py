"""Downloads, against a local server that behaves like the official site on its good and bad days."""

from __future__ import annotations

import hashlib
import logging
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from h36m_toolbox.download.fetching import fetch
from h36m_toolbox.download.index import (
    OFFICIAL_GROUPS,
    THIRD_PARTY_FILES,
    OfficialArchive,
    index_table,
    official_archives,
    requested,
    third_party_file,
)
from h36m_toolbox.download.session_cookie import cookie_from
from h36m_toolbox.errors import H36MError
from h36m_toolbox.raw.archive import Kind
from h36m_toolbox.sequences import SUBJECTS

BODY = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(BODY).hexdigest()
MD5 = hashlib.md5(BODY).hexdigest()
COOKIE = "PHPSESSID=s3cr3t0f7heuser"
# a key pair made for these tests, for 127.0.0.1 only
CERTIFICATE = Path(__file__).parents[1] / "data" / "downloads" / "self_signed.pem"
LOGIN_PAGE = b"<!DOCTYPE html><html><body>Please log in</body></html>"


@dataclass
class Site:
    """What the server has and how it misbehaves; each list is used up from the front, one entry a request."""

    body: bytes = BODY
    etag: str = '"v1"'
    ranges: bool = True
    honours_if_range: bool = True
    says_length: bool = True
    needs_cookie: bool = False
    content_type: str = "application/octet-stream"
    statuses: list[int] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)  # send so many bytes of the body, then hang up
    after_request: Callable[[Site], None] = lambda site: None
    redirect_to: str = ""
    seen: list[dict[str, str]] = field(default_factory=list)  # headers of the requests for the file
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"
    site: Site

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        site = self.site
        if urlsplit(self.path).path == "/login.php":
            return self.answer(200, LOGIN_PAGE, {"Content-Type": "text/html; charset=UTF-8"})
        site.seen.append(dict(self.headers))
        if site.redirect_to and self.path != urlsplit(site.redirect_to).path:
            return self.answer(302, b"", {"Location": site.redirect_to})
        if site.needs_cookie and self.headers.get("Cookie") != COOKIE:
            return self.answer(302, b"", {"Location": "/login.php"})
        if site.statuses and (status := site.statuses.pop(0)) != 200:
            return self.answer(status, b"", {"Retry-After": "7"} if status == 503 else {})
        self.send_file(site)
        site.after_request(site)

    def send_file(self, site: Site) -> None:
        first, asked = 0, self.headers.get("Range")
        same = not site.honours_if_range or self.headers.get("If-Range", site.etag) == site.etag
        if asked and site.ranges and same:
            first = int(asked.removeprefix("bytes=").removesuffix("-"))
        rest = site.body[first:]
        headers = {"Content-Type": site.content_type}
        if site.etag:
            headers["ETag"] = site.etag
        if first >= len(site.body):
            return self.answer(416, b"", {"Content-Range": f"bytes */{len(site.body)}"})
        if first:
            headers["Content-Range"] = f"bytes {first}-{len(site.body) - 1}/{len(site.body)}"
        if site.says_length:
            headers["Content-Length"] = str(len(rest))
        self.answer(206 if first else 200, rest[: site.cuts.pop(0)] if site.cuts else rest, headers)

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up is no news here."""


@pytest.fixture
def new_site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Site]]:
    monkeypatch.setenv("no_proxy", "*")
    servers = []

    def start(certificate: Path | None = None) -> Site:
        site = Site()
        server = QuietServer(("127.0.0.1", 0), type("Bound", (Handler,), {"site": site}))
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https" if certificate else "http"
        site.url = (
            f"{scheme}://127.0.0.1:{server.server_port}/filebrowser.php?download=1&filename=SubjectSpecific_1.tgz"
        )
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return site

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def site(new_site: Callable[..., Site]) -> Site:
    return new_site()


class Clock:
    """Remembers how long it was asked to sleep and does not."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "archives" / "Poses_D3_Positions_S1.tgz"


def leftovers(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir() if path != target)


def test_a_file_arrives_checked_and_nothing_is_left_beside_it(site: Site, target: Path) -> None:
    steps: list[tuple[int, int | None]] = []
    fetched = fetch(
        site.url, target, md5s=("0" * 32, MD5.upper()), size=len(BODY), progress=lambda *step: steps.append(step)
    )
    assert (fetched.path, fetched.size, fetched.sha256) == (target, len(BODY), SHA256)
    assert fetched.checked == ("size", "md5")
    assert not fetched.kept
    assert target.read_bytes() == BODY
    assert leftovers(target) == []
    assert steps[-1] == (len(BODY), len(BODY))
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)


def test_a_right_file_is_not_downloaded_again_and_a_wrong_one_is_replaced(site: Site, target: Path) -> None:
    fetch(site.url, target)
    assert fetch(site.url, target, sha256=SHA256).kept
    assert len(site.seen) == 1
    target.write_bytes(b"an old version")
    assert not fetch(site.url, target, sha256=SHA256).kept
    target.write_bytes(LOGIN_PAGE)
    assert not fetch(site.url, target).kept
    assert target.read_bytes() == BODY


def test_a_truncated_body_is_continued_where_it_broke_off(site: Site, target: Path, clock: Clock) -> None:
    site.cuts = [100_000, 200_000]
    assert fetch(site.url, target, sha256=SHA256, sleep=clock).size == len(BODY)
    assert [request.get("Range") for request in site.seen] == [None, "bytes=100000-", "bytes=300000-"]
    assert site.seen[1]["If-Range"] == '"v1"'
    assert clock.slept == [1.0, 1.0]


def test_an_interrupted_download_is_continued_by_the_next_call(site: Site, target: Path) -> None:
    def interrupt(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(site.url, target, progress=interrupt)
    assert not target.exists()
    arrived = (target.parent / f".{target.name}.part").stat().st_size
    assert arrived > 0
    fetch(site.url, target, sha256=SHA256)
    assert site.seen[1]["Range"] == f"bytes={arrived}-"
    assert leftovers(target) == []


def test_a_part_that_is_whole_already_is_checked_without_asking_the_server(site: Site, target: Path) -> None:
    site.cuts = [100]
    with pytest.raises(H36MError, match="run the same command later"):
        fetch(site.url, target, retries=0)
    (target.parent / f".{target.name}.part").write_bytes(BODY)
    assert fetch(site.url, target, sha256=SHA256).sha256 == SHA256
    assert len(site.seen) == 1


def test_a_server_without_ranges_starts_from_the_beginning(site: Site, target: Path, clock: Clock) -> None:
    site.ranges, site.cuts = False, [100_000]
    fetch(site.url, target, sleep=clock)
    assert target.read_bytes() == BODY


def test_a_server_that_always_breaks_off_is_given_up_and_what_came_is_kept(
    site: Site, target: Path, clock: Clock
) -> None:
    site.ranges, site.cuts = False, [100_000] * 10
    with pytest.raises(H36MError, match="100000 of 512000 bytes, 3 times in a row; what has arrived is kept"):
        fetch(site.url, target, retries=2, sleep=clock)
    assert not target.exists()
    assert len(leftovers(target)) == 2


@pytest.mark.parametrize("honours_if_range", [True, False])
def test_a_file_that_changes_between_two_parts_is_fetched_anew(
    site: Site, target: Path, clock: Clock, honours_if_range: bool
) -> None:
    def change(site: Site) -> None:
        site.body, site.etag = BODY[::-1], '"v2"'

    site.cuts, site.after_request, site.honours_if_range = [100_000], change, honours_if_range
    fetch(site.url, target, sleep=clock)
    assert target.read_bytes() == BODY[::-1]


def test_a_file_that_became_shorter_than_the_part_is_fetched_anew(site: Site, target: Path, clock: Clock) -> None:
    def shrink(site: Site) -> None:
        site.body = b"short"

    site.etag, site.cuts, site.after_request = "", [100_000], shrink
    fetch(site.url, target, sleep=clock)
    assert target.read_bytes() == b"short"


def test_without_tag_and_length_nothing_is_glued_together(site: Site, target: Path, clock: Clock) -> None:
    site.etag, site.says_length, site.cuts = "", False, [100_000]
    fetch(site.url, target, md5s=(MD5,), sleep=clock)
    assert target.read_bytes() == BODY
    assert "Range" not in site.seen[1]


@pytest.mark.parametrize("says_length", [True, False])
@pytest.mark.parametrize("expected", [{"sha256": "0" * 64}, {"md5s": ("0" * 32, "1" * 32)}])
def test_a_wrong_checksum_leaves_nothing(
    site: Site, target: Path, clock: Clock, expected: dict[str, Any], says_length: bool
) -> None:
    site.says_length = says_length
    with pytest.raises(H36MError, match=f"arrived with .* instead of {'0' * 32}"):
        fetch(site.url, target, sleep=clock, **expected)
    assert list(target.parent.iterdir()) == []
    assert len(site.seen) == (1 if says_length else 2)


def test_a_wrong_checksum_does_not_cost_the_user_an_older_file(site: Site, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(b"older")
    with pytest.raises(H36MError, match="sha256"):
        fetch(site.url, target, sha256="0" * 64)
    assert target.read_bytes() == b"older"


def test_a_part_that_was_tampered_with_is_thrown_away_and_fetched_anew(site: Site, target: Path, clock: Clock) -> None:
    site.cuts = [100_000]
    with pytest.raises(H36MError):
        fetch(site.url, target, retries=0)
    (target.parent / f".{target.name}.part").write_bytes(b"x" * 100_000)
    fetch(site.url, target, sha256=SHA256, sleep=clock)
    assert target.read_bytes() == BODY


def test_another_size_is_refused_before_it_is_downloaded(site: Site, target: Path) -> None:
    with pytest.raises(H36MError, match=f"offers {len(BODY)} bytes instead of 5"):
        fetch(site.url, target, size=5)
    assert list(target.parent.iterdir()) == []


def test_a_busy_server_is_asked_again_after_the_time_it_names(site: Site, target: Path, clock: Clock) -> None:
    site.statuses = [503, 503, 200]
    assert fetch(site.url, target, sleep=clock).sha256 == SHA256
    assert clock.slept == [7.0, 7.0]


def test_waits_double_while_nothing_arrives(site: Site, target: Path, clock: Clock) -> None:
    site.statuses = [500] * 9
    with pytest.raises(H36MError, match=r"busy or broken \(500\), 5 times in a row"):
        fetch(site.url, target, retries=4, sleep=clock)
    assert clock.slept == [1.0, 2.0, 4.0, 8.0]
    assert list(target.parent.iterdir()) == []


def test_a_server_that_is_not_there_is_reported(target: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(H36MError, match="no answer"):
        fetch("http://127.0.0.1:1/x", target, retries=1, sleep=clock)
    assert clock.slept == [1.0]


@pytest.mark.parametrize(
    ("status", "words"), [(404, r"is not there \(404\)"), (410, "has moved"), (403, r"refused \(403\)"), (400, "400")]
)
def test_what_will_not_get_better_is_not_tried_again(site: Site, target: Path, status: int, words: str) -> None:
    site.statuses = [status]
    with pytest.raises(H36MError, match=words):
        fetch(site.url, target)
    assert len(site.seen) == 1
    assert list(target.parent.iterdir()) == []


def test_the_login_page_is_told_from_the_archive(site: Site, target: Path) -> None:
    site.needs_cookie = True
    fetch(site.url, target, cookie=COOKIE)
    target.unlink()
    with pytest.raises(H36MError, match=r"your session has expired; log in at .* PHPSESSID .* H36M_COOKIE"):
        fetch(site.url, target, cookie="PHPSESSID=ofyesterday")
    with pytest.raises(H36MError, match="open the address in a browser"):
        fetch(site.url, target)
    assert list(target.parent.iterdir()) == []


def test_a_login_page_that_calls_itself_an_archive_is_recognised_by_its_content(site: Site, target: Path) -> None:
    site.body, site.content_type = b"\n " + LOGIN_PAGE, "application/x-gzip"
    with pytest.raises(H36MError, match="session has expired"):
        fetch(site.url, target, cookie=COOKIE)
    assert list(target.parent.iterdir()) == []


def test_redirects_in_circles_are_an_expired_session(site: Site, target: Path) -> None:
    site.redirect_to = f"{site.url}&again=1"
    with pytest.raises(H36MError, match="session has expired"):
        fetch(site.url, target, cookie=COOKIE)


def test_the_cookie_follows_a_redirect_on_its_own_host_and_no_other(
    new_site: Callable[..., Site], target: Path
) -> None:
    own, foreign = new_site(), new_site()
    own.redirect_to = foreign.url
    fetch(own.url, target, cookie=COOKIE)
    assert own.seen[0]["Cookie"] == COOKIE
    assert "Cookie" not in foreign.seen[0]

    target.unlink()
    foreign.redirect_to, foreign.needs_cookie = "/elsewhere.tgz", True
    fetch(foreign.url, target, cookie=COOKIE)
    assert [request.get("Cookie") for request in foreign.seen] == [None, COOKIE, COOKIE]


def test_a_certificate_nobody_vouches_for_is_refused_before_anything_is_sent(
    new_site: Callable[..., Site], target: Path
) -> None:
    site = new_site(certificate=CERTIFICATE)
    with pytest.raises(H36MError, match="certificate cannot be verified"):
        fetch(site.url, target, cookie=COOKIE)
    assert site.seen == []


def test_https_is_never_left(
    new_site: Callable[..., Site], target: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))  # OpenSSL's own way to trust a certificate
    secure, plain = new_site(certificate=CERTIFICATE), new_site()
    fetch(secure.url, target, cookie=COOKIE, sha256=SHA256, sleep=clock)
    target.unlink()
    secure.redirect_to = plain.url
    with pytest.raises(H36MError, match="not encrypted; not followed"):
        fetch(secure.url, target, cookie=COOKIE, sleep=clock)
    assert plain.seen == []


def test_the_cookie_is_in_no_message_and_no_log(
    site: Site, target: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for statuses in ([403], [404], [503] * 9):
        site.statuses = statuses
        with pytest.raises(H36MError) as caught:
            fetch(site.url, target, cookie=COOKIE, retries=1, sleep=clock)
        assert "s3cr3t" not in str(caught.value)
    with pytest.raises(H36MError) as caught:
        fetch(site.url, target, cookie=f"{COOKIE}\r\nX-Other: 1")
    assert "s3cr3t" not in str(caught.value)
    assert "s3cr3t" not in caplog.text


def test_the_cookie_does_not_travel_unencrypted(target: Path) -> None:
    with pytest.raises(H36MError, match="plain http"):
        fetch("http://vision.imar.ro/human3.6m/filebrowser.php", target, cookie=COOKIE)
    with pytest.raises(H36MError, match="not an http or https address"):
        fetch("file:///etc/passwd", target)


def test_two_downloads_of_one_file_at_once_are_refused(site: Site, target: Path) -> None:
    refusals = []

    def again(done: int, total: int | None) -> None:
        if not refusals:
            with pytest.raises(H36MError, match="another process is downloading this file") as caught:
                fetch(site.url, target)
            refusals.append(caught.value)

    fetch(site.url, target, sha256=SHA256, progress=again)
    assert len(refusals) == 1


NETSCAPE = (
    "# Netscape HTTP Cookie File\n\n"
    "example.org\tFALSE\t/\tTRUE\t0\tPHPSESSID\tforeign\n"
    "#HttpOnly_vision.imar.ro\tFALSE\t/\tTRUE\t0\tPHPSESSID\ts3cr3t0f7heuser\n"
)


@pytest.mark.parametrize(
    "text", ["s3cr3t0f7heuser\n", COOKIE, f"Cookie: {COOKIE}\n", f"# mine\n{COOKIE}", NETSCAPE], ids=range(5)
)
def test_the_cookie_is_read_in_every_form_people_have_it(tmp_path: Path, text: str) -> None:
    file = tmp_path / "cookie.txt"
    file.write_text(text)
    assert cookie_from(file, {"H36M_COOKIE": "another"}) == COOKIE


def test_the_cookie_comes_from_the_environment_where_there_is_no_file() -> None:
    assert cookie_from(None, {"H36M_COOKIE": "s3cr3t0f7heuser"}) == COOKIE


@pytest.mark.parametrize("text", ["", "one\ntwo", "s3cr\u00e9t", "example.org\tFALSE\t/\tTRUE\t0\tPHPSESSID\tx"])
def test_what_is_no_cookie_is_refused_with_the_way_to_get_one(tmp_path: Path, text: str) -> None:
    file = tmp_path / "cookie.txt"
    file.write_text(text)
    with pytest.raises(H36MError, match=r"cookie\.txt: .* log in at") as caught:
        cookie_from(file, {})
    assert "s3cr" not in str(caught.value).replace(str(file), "")
    with pytest.raises(H36MError, match="H36M_COOKIE: no session cookie; log in"):
        cookie_from(None, {})
    with pytest.raises(H36MError, match="No such file"):
        cookie_from(tmp_path / "none.txt", {})


def test_official_archives_have_the_sites_numbers_and_the_local_names() -> None:
    archives = {archive.file_name: archive for archive in official_archives((*Kind,))}
    assert len(archives) == len(Kind) * len(SUBJECTS)
    expected = {
        "Poses_D3_Positions_mono_universal_S5.tgz": ("Poses/D3_Positions_mono_universal", "SubjectSpecific_6.tgz"),
        "Videos_S7.tgz": ("Videos", "SubjectSpecific_2.tgz"),
        "Segments_mat_gt_bb_S11.tgz": ("Segments/mat_gt_bb", "SubjectSpecific_5.tgz"),
    }
    for name, (folder, number) in expected.items():
        address = urlsplit(archives[name].url)
        assert (address.scheme, address.netloc) == ("https", "vision.imar.ro")
        assert parse_qs(address.query) == {"download": ["1"], "filepath": [folder], "filename": [number]}


def test_every_published_checksum_is_there_once_and_none_is_invented() -> None:
    md5s = [md5 for archive in official_archives() for md5 in archive.md5s]
    assert len(official_archives()) == 35
    assert all(archive.md5s for archive in official_archives())
    assert len(md5s) == len(set(md5s)) == 36  # the site replaced Videos_S11.tgz
    assert all(len(md5) == 32 and set(md5) <= set("0123456789abcdef") for md5 in md5s)
    assert OfficialArchive(Kind.MASK, "S1").md5s == ()
    with pytest.raises(H36MError, match="S2: no subject with public poses"):
        official_archives(subjects=("S2",))


def test_third_party_files_say_what_they_are_and_under_which_licence() -> None:
    for name, file in THIRD_PARTY_FILES.items():
        assert third_party_file(name) is file
        assert file.what and file.licence and file.file_name
        assert file.url.startswith("https://") and file.source.startswith("https://")
        assert file.direct == file.url.endswith(file.file_name)
    with pytest.raises(H36MError, match=r"nothing-of-ours: not in the index; there are poses, .*, cpn"):
        third_party_file("nothing-of-ours")


def test_names_stand_for_files_each_once_and_only_official_ones_want_the_cookie() -> None:
    wanted = requested(("Poses_D2_Positions", "poses", "cpn"), ("S9",))
    assert [file.file_name for file in wanted] == [
        "Poses_D2_Positions_S9.tgz",
        "Poses_D3_Positions_S9.tgz",
        "Poses_D3_Positions_mono_S9.tgz",
        "Poses_D3_Positions_mono_universal_S9.tgz",
        "data_2d_h36m_cpn_ft_h36m_dbb.npz",
    ]
    assert [file.official for file in wanted] == [True] * 4 + [False]
    assert len(requested(("poses", "videos", "masks"))) == 42
    with pytest.raises(H36MError, match=r"sh: for browsers only; open https://drive.* and save stacked_hourglass"):
        requested(("cpn", "sh"))


def test_the_table_names_everything_there_is() -> None:
    table = index_table()
    for name in (*OFFICIAL_GROUPS, *THIRD_PARTY_FILES):
        assert f"  {name}: " in table
    assert all(file.licence in table and file.url in table for file in THIRD_PARTY_FILES.values())
