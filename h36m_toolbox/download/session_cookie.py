"""The session cookie of the official site: read from where the user keeps it, shown nowhere."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from h36m_toolbox.errors import H36MError

COOKIE_VARIABLE = "H36M_COOKIE"
SESSION_COOKIE = "PHPSESSID"  # of vision.imar.ro, as h36m-fetch's README says
HOW_TO_GIVE_THE_COOKIE = (
    f"log in at https://vision.imar.ro/human3.6m/ with a browser, copy the value of its cookie {SESSION_COOKIE} "
    f"into a file that only you can read and give that file, or put it in the environment variable {COOKIE_VARIABLE}"
)


def cookie_from(file: Path | None, environment: Mapping[str, str]) -> str:
    """The official site's session cookie, from a file or else from H36M_COOKIE, as a request header takes it.

    Either may hold the bare session id or `PHPSESSID=...` (also with other cookies, also after `Cookie:`); a file may
    also be a browser's cookies.txt in Netscape format. Raises H36MError, without the value, where there is none.
    """
    if file is not None:
        try:
            text = Path(file).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a text file"
            raise H36MError(f"{file}: {reason}; {HOW_TO_GIVE_THE_COOKIE}") from None
        where = str(file)
    else:
        text, where = environment.get(COOKIE_VARIABLE, ""), COOKIE_VARIABLE
    lines = [line.removeprefix("#HttpOnly_") for line in text.splitlines()]
    lines = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    for fields in (line.split("\t") for line in lines):  # domain, subdomains, path, secure, expires, name, value
        if len(fields) == 7 and fields[5] == SESSION_COOKIE and fields[0].lstrip(".") in ("vision.imar.ro", "imar.ro"):
            return checked_cookie(f"{SESSION_COOKIE}={fields[6]}", where)
    if len(lines) != 1 or "\t" in lines[0]:
        what = f"no cookie {SESSION_COOKIE} of vision.imar.ro in it" if lines else "no session cookie"
        raise H36MError(f"{where}: {what}; {HOW_TO_GIVE_THE_COOKIE}")
    value = re.sub(r"^cookie:\s*", "", lines[0], flags=re.IGNORECASE)
    return checked_cookie(value if "=" in value else f"{SESSION_COOKIE}={value}", where)


def checked_cookie(cookie: str, where: str) -> str:
    """The cookie as it is; H36MError, without the value, if it holds a character that no request header may."""
    if not re.fullmatch(r"[\x20-\x7e]*", cookie):  # http.client would refuse it with a message that quotes it
        raise H36MError(f"{where}: holds characters that no cookie has; {HOW_TO_GIVE_THE_COOKIE}")
    return cookie
