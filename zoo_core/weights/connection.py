"""One GET over HTTPS, with every redirect checked. All that the zoo downloads comes through here.

http.client is used directly: it decompresses nothing, follows nothing and keeps no state, and each
of these is a decision here. Certificates are those of the operating system (truststore).
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from typing import cast
from urllib.parse import SplitResult, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import truststore

from zoo_core.weights.places import Place, Unavailable

TIMEOUT = 30.0  # seconds to connect, and between two parts of an answer
ANSWER_TIMEOUT = 60.0  # seconds until the headers are complete
MAX_REDIRECTS = 5
LOOPBACK = ("localhost", "127.0.0.1", "::1")
ALWAYS = {"User-Agent": "zoo-core", "Accept-Encoding": "identity"}
PASSING = (408, 425, 429, 500, 502, 503, 504)  # worth another try

Answer = http.client.HTTPResponse


class Broken(Exception):
    """The connection failed in a way that may pass; `wait` is what the server asked for."""

    def __init__(self, reason: str, wait: float | None = None):
        self.wait = wait
        super().__init__(reason)


@contextlib.contextmanager
def get(place: Place, headers: Mapping[str, str]) -> Iterator[Answer]:
    """The answer to a GET, after redirects; its status is 200, 206 or 416.

    Raises Unavailable or Broken, with a reason that follows the name of the place in a message.
    """
    origin = target = _checked(place.url, loopback=True)
    may_be_loopback = origin.hostname in LOOPBACK
    for _ in range(MAX_REDIRECTS + 1):
        own = place.headers if _host(target) == _host(origin) else {}
        with _answer(target, {**own, **headers, **ALWAYS}) as answer:
            where = answer.getheader("Location") if 301 <= answer.status <= 308 else None
            if where is None:
                _check_status(answer)
                yield answer
                return
        target = _checked(_joined(target, where), loopback=may_be_loopback)
    raise Unavailable(f"redirected more than {MAX_REDIRECTS} times")


def total_size(answer: Answer) -> int | None:
    """The size of the whole file that an answer states; None if it states none."""
    text = answer.getheader("Content-Length", "")
    if answer.status in (206, 416):
        text = answer.getheader("Content-Range", "").rpartition("/")[2]
    return int(text) if text.isascii() and text.isdecimal() else None


@contextlib.contextmanager
def failures() -> Iterator[None]:
    """Turn what a network raises into Unavailable or Broken."""
    try:
        yield
    except TimeoutError:
        raise Broken("did not answer in time") from None
    except socket.gaierror:
        raise Unavailable("has a host that cannot be found: no network?") from None
    except ConnectionRefusedError:
        raise Unavailable("refused the connection") from None
    except ssl.SSLCertVerificationError as error:
        raise Unavailable(f"has a bad certificate: {error.verify_message}") from None
    except http.client.InvalidURL:
        raise Unavailable("is not a usable url") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise Broken(f"broke the connection ({' '.join(str(reason).split())[:80]})") from None
    except ValueError:  # http.client meets an answer that is no HTTP
        raise Broken("does not answer as a web server does") from None


def _checked(url: str, *, loopback: bool) -> SplitResult:
    """The parts of a url that may be opened: https, or http to this machine where allowed."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise Unavailable("is not a usable url") from None
    is_local = loopback and parts.scheme == "http" and host in LOOPBACK
    if not host or not (parts.scheme == "https" or is_local) or not url.isascii():
        raise Unavailable(f"leads to {url[:60]!r}, and only https is opened")
    return parts


def _joined(base: SplitResult, where: str) -> str:
    try:
        return urljoin(base.geturl(), where)
    except ValueError:
        raise Unavailable("redirects to what is no url") from None


def _host(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port


@contextlib.contextmanager
def _answer(target: SplitResult, headers: Mapping[str, str]) -> Iterator[Answer]:
    path = (target.path or "/") + (f"?{target.query}" if target.query else "")
    with contextlib.ExitStack() as opened:
        with failures():
            connection = opened.enter_context(contextlib.closing(_connection(target)))
            connection.connect()
            with _deadline(cast(socket.socket, connection.sock)):
                connection.request("GET", path, headers=dict(headers))
                answer = opened.enter_context(connection.getresponse())
        yield answer


def _connection(target: SplitResult) -> http.client.HTTPConnection:
    """A connection to the host, through the proxy of the environment if there is one."""
    host = cast(str, target.hostname)
    if target.scheme == "http":
        return http.client.HTTPConnection(host, target.port, timeout=TIMEOUT)
    proxy = None if proxy_bypass(host) else getproxies().get("https")
    if proxy is None:
        return _secure(host, target.port)
    through = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    connection = _secure(through.hostname or "", through.port)
    connection.set_tunnel(host, target.port or 443, _authorization(through))
    return connection


def _secure(host: str, port: int | None) -> http.client.HTTPSConnection:
    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=context)


def _authorization(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    from base64 import b64encode
    from urllib.parse import unquote

    login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {b64encode(login.encode()).decode()}"}


@contextlib.contextmanager
def _deadline(sock: socket.socket) -> Iterator[None]:
    """Raise TimeoutError if the headers take too long: TIMEOUT bounds only the time per part."""
    expired = threading.Event()

    def end() -> None:
        expired.set()
        with contextlib.suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)  # wakes the thread that reads

    timer = threading.Timer(ANSWER_TIMEOUT, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if expired.is_set():
            raise TimeoutError


def _check_status(answer: Answer) -> None:
    told = f"answered {answer.status} {answer.reason[:60]}".strip()
    if answer.status in PASSING:
        raise Broken(told, _retry_after(answer))
    if answer.status not in (200, 206, 416):
        raise Unavailable(told)
    encoding = answer.getheader("Content-Encoding", "identity")
    if encoding.strip().lower() not in ("identity", ""):
        raise Unavailable(f"sends a compressed file ({encoding[:20]})")


def _retry_after(answer: Answer) -> float | None:
    """The seconds that a server asks to wait; None for a date, whose clock may not be ours."""
    text = answer.getheader("Retry-After", "").strip()
    return float(text) if text.isascii() and text.isdecimal() else None
