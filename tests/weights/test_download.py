"""A server may do anything: no wrong byte enters the cache, and what went wrong is one line.

Faults are numbered as in the project's list of 61. This file holds 35 to 52 and 60, test_store.py
53 to 59, 61 and 29; the others, those of a weights file, are held elsewhere:

    1-13, 17-22   test_header.py: MALFORMED, UNFIT
    14-16         test_header.py: UNFIT; test_loading_weights.py: CONFIGS
    23, 24, 31    test_loading_weights.py: not finite, a bit, tied tensors
    25, 26        test_loading_weights.py: pickles; what counts is the content
    27, 28        test_loading_weights.py: what is checked is what is loaded; files are never mapped
    29, 30, 33    test_header.py: folder, pipe, unreadable; MISDESCRIBED
    32            test_torchfile.py: big-endian; safetensors has one byte order
    34            test_loading_weights.py: a model that is not installed
"""

from __future__ import annotations

import gzip
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest
from file_server import DATA, Visit, registered, reset, serving

from zoo_core.errors import DownloadError, OfflineError, WeightsError
from zoo_core.weights import connection, download
from zoo_core.weights.hub import fetch_file, read_weights
from zoo_core.weights.store import store_folder

OTHER = b"!" + DATA[1:]


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """What takes a minute for people takes a moment here."""
    for name, seconds in {"TIMEOUT": 0.3, "ANSWER_TIMEOUT": 0.5}.items():
        monkeypatch.setattr(connection, name, seconds)
    for name, seconds in {"BACKOFF": 0.0, "WINDOW": 0.2}.items():
        monkeypatch.setattr(download, name, seconds)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def refused(*urls, **expected) -> str:
    """The only line of the error; afterwards the cache holds no file and no part."""
    with pytest.raises(DownloadError) as error:
        fetch_file(registered(*urls, **expected), "toy.a")
    text = str(error.value)
    assert error.value.exit_code == 5
    assert "\n" not in text
    assert text.startswith("cannot download the weights file of toy.a; given: ")
    assert left() == []
    return text


def left() -> list[str]:
    """What is in the cache but locks: parts by their suffix."""
    return [path.suffix or path.name for path in store_folder().glob("*") if path.suffix != ".lock"]


# A server that works.


def test_a_file_is_downloaded_into_the_cache_once(server):
    file = registered(server.serve("/a", DATA))
    path = fetch_file(file, "toy.a")
    assert (path.read_bytes(), path.name) == (DATA, file.sha256)
    assert fetch_file(file, "toy.a") == path
    assert read_weights(file, "toy.a") == DATA
    assert len(server.requests) == 1
    assert left() == [file.sha256]


def test_two_files_of_one_name_are_two_files(server):
    one, two = server.serve("/one/g.safetensors", DATA), server.serve("/two/g.safetensors", OTHER)
    assert read_weights(registered(one), "toy.a") == DATA
    assert read_weights(registered(two, data=OTHER), "toy.b") == OTHER


def test_the_progress_is_told_in_bytes(server):
    told = []
    file = registered(server.serve("/a", DATA))
    fetch_file(file, "toy.a", lambda done, size: told.append((done, size)))
    assert told[-1] == (len(DATA), len(DATA))
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_mirrors_are_tried_in_order(server):
    urls = server.url("/none"), server.serve("/other", OTHER), server.serve("/a", DATA)
    assert read_weights(registered(*urls, server.url("/never")), "toy.a") == DATA
    assert [visit.path for visit in server.requests] == ["/none", "/other", "/a"]


def test_every_mirror_is_named_with_what_it_did(server):
    urls = server.url("/none"), server.serve("/other", OTHER)
    told = refused(*urls)
    assert f"{urls[0]} answered 404 Not Found" in told
    assert f"{urls[1]} sends other bytes (sha256 " in told


def test_redirects_are_followed(server):
    server.serve("/a", DATA)
    url = server.serve("/r", lambda visit: visit.answer(302, Location="/s"))
    server.serve("/s", lambda visit: visit.answer(307, Location=server.url("/a")))
    assert read_weights(registered(url), "toy.a") == DATA


def test_a_cached_file_is_verified_at_every_use_and_replaced(server, caplog):
    file = registered(server.serve("/a", DATA))
    path = fetch_file(file, "toy.a")
    for damaged in (OTHER, DATA[:-1], b""):
        path.write_bytes(damaged)
        caplog.clear()
        assert read_weights(file, "toy.a") == DATA
        assert caplog.messages == [
            "the cached weights file of toy.a is damaged; it is downloaded again"
        ]
    assert path.read_bytes() == DATA


# 35-52: servers that do not.


def html(visit):
    visit.answer(200, b"<html>log in</html>", Content_Type="text/html; charset=utf-8")


def longer(visit):
    visit.answer(200, DATA + b"!")


def endless(visit):
    visit.answer(200, Content_Length=None)
    for _ in range(1000):
        visit.send(DATA)


def compressed(visit):
    visit.answer(200, gzip.compress(DATA), Content_Encoding="gzip")


def bomb(visit):
    visit.answer(200, gzip.compress(bytes(1 << 22)), Content_Encoding="gzip", Content_Length=None)


def silent(visit):
    time.sleep(1)


def half(visit):
    visit.answer(200, DATA[: len(DATA) // 2], Content_Length=len(DATA))


def trickling(visit):
    visit.answer(200, Content_Length=len(DATA))
    for _ in range(10):
        visit.send(b"\0")
        time.sleep(0.1)


def slow_headers(visit):
    visit.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for _ in range(15):
        visit.wfile.write(b"X: y\r\n")
        time.sleep(0.1)


def no_http(visit):
    visit.wfile.write(b"220 this is another protocol\r\n")


def resetting(visit):
    visit.answer(200, DATA[:1000], Content_Length=len(DATA))
    reset(visit.connection)


def status(code, **headers):
    return lambda visit: visit.answer(code, b"sorry", **headers)


BAD = {  # behavior of the server -> what is said of it
    "35 404": (status(404), "answered 404 Not Found"),
    "35 410": (status(410), "answered 410 Gone"),
    "35 403": (status(403), "answered 403 Forbidden"),
    "36 500 for ever": (status(500), "answered 500 Internal Server Error, 4 times"),
    "37 429 for ever": (status(429), "answered 429 Too Many Requests, 4 times"),
    "37 429 for longer than anyone waits": (status(429, Retry_After=61), "asks to wait 61 s"),
    "38 a web page": (html, "sends a web page in place of the file"),
    "40 longer than registered": (longer, f"has a file of {len(DATA) + 1} bytes"),
    "40 shorter than registered": (status(200), "has a file of 5 bytes"),
    "41 endless": (endless, f"sends more than {len(DATA)} bytes"),
    "43 no answer": (silent, "did not answer in time, 4 times"),
    "43 headers without end": (slow_headers, "did not answer in time, 4 times"),
    "47 compressed": (compressed, "sends a compressed file (gzip)"),
    "47 gzip bomb": (bomb, "sends a compressed file (gzip)"),
    "49 other bytes": (lambda visit: visit.answer(200, OTHER[::-1]), "sends other bytes"),
    "50 other bytes of the same size": (lambda visit: visit.answer(200, OTHER), "sends other"),
    "no HTTP": (no_http, "broke the connection"),
    "a status of no meaning": (status(299), "answered 299"),
}


@pytest.mark.parametrize(("behave", "reason"), BAD.values(), ids=BAD)
def test_a_bad_server_gives_nothing(server, behave, reason):
    assert reason in refused(server.serve("/a", behave))


KEPT = {  # a download that stops, and may go on another day
    "39 half a body": (half, "broke off after 131072 of 262144 bytes"),
    "42 a byte at a time": (trickling, "sends less than 1000 bytes a second"),
    "44 reset": (resetting, "broke the connection"),
}


@pytest.mark.parametrize(("behave", "reason"), KEPT.values(), ids=KEPT)
def test_a_body_that_breaks_off_is_no_file(server, behave, reason):
    with pytest.raises(DownloadError, match=reason) as error:
        fetch_file(registered(server.serve("/a", behave)), "toy.a")
    assert "\n" not in str(error.value)
    assert left() in ([".part"], [])


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_36_an_error_that_passes_is_tried_again(server, code):
    assert read_weights(registered(server.serve("/a", status(code), DATA)), "toy.a") == DATA
    assert len(server.requests) == 2


def test_36_each_try_waits_twice_as_long(server, monkeypatch):
    waits = []
    monkeypatch.setattr(download, "BACKOFF", 1.0)
    monkeypatch.setattr(download.time, "sleep", waits.append)
    refused(server.serve("/a", status(503)))
    assert waits == [1, 2, 4]


def test_37_a_server_may_say_how_long_to_wait(server, monkeypatch):
    waits = []
    monkeypatch.setattr(download.time, "sleep", waits.append)
    busy = status(429, Retry_After=7)
    assert read_weights(registered(server.serve("/a", busy, DATA)), "toy.a") == DATA
    assert waits == [7]


@pytest.mark.parametrize("stop", [half, resetting], ids=["39 half a body", "44 reset"])
def test_a_download_goes_on_where_it_stopped(server, stop):
    assert read_weights(registered(server.serve("/a", stop, DATA)), "toy.a") == DATA
    second = server.requests[1]
    assert second.start > 0
    assert server.sent <= len(DATA) + 1000


def test_the_next_command_goes_on_where_the_last_one_stopped(server):
    with pytest.raises(DownloadError):
        fetch_file(registered(server.serve("/a", half, status(404))), "toy.a")
    server.requests.clear()
    assert read_weights(registered(server.serve("/a", DATA)), "toy.a") == DATA
    assert [visit.start for visit in server.requests] == [len(DATA) // 2]
    assert server.sent == len(DATA) + len(b"sorry")


def test_a_mirror_goes_on_where_another_stopped(server):
    urls = server.serve("/a", half, status(404)), server.serve("/b", DATA)
    assert read_weights(registered(*urls), "toy.a") == DATA
    assert server.requests[-1].start == len(DATA) // 2


def test_many_breaks_do_not_matter_while_the_file_grows(server, monkeypatch):
    monkeypatch.setattr(download, "PROGRESS", 30_000)

    def a_bit(visit):
        visit.answer_range(DATA, until=visit.start + 32_768)

    assert read_weights(registered(server.serve("/a", a_bit)), "toy.a") == DATA
    assert [visit.start for visit in server.requests] == list(range(0, len(DATA), 32_768))
    assert len(server.requests) > download.TRIES


def test_48_a_server_that_cannot_go_on_starts_again(server):
    whole = lambda visit: visit.answer(200, DATA)  # noqa: E731
    assert read_weights(registered(server.serve("/a", half, whole)), "toy.a") == DATA
    assert [visit.start for visit in server.requests] == [0, len(DATA) // 2]


@pytest.mark.parametrize("where", ["bytes 5-9/262144", "bytes */262144", "nonsense", ""])
def test_48_another_range_than_the_one_asked_for_is_not_appended(server, where):
    wrong = lambda visit: visit.answer(206, DATA[5:10], Content_Range=where)  # noqa: E731
    assert read_weights(registered(server.serve("/a", half, wrong, DATA)), "toy.a") == DATA
    assert [visit.start for visit in server.requests] == [0, len(DATA) // 2, 0]


def test_48_a_range_that_cannot_be_satisfied_starts_again(server):
    wrong = lambda visit: visit.answer(416, Content_Range="bytes */5")  # noqa: E731
    assert read_weights(registered(server.serve("/a", half, wrong, DATA)), "toy.a") == DATA


def test_49_bytes_of_two_connections_that_do_not_fit_are_fetched_again(server):
    def other_half(visit):
        visit.answer(200, OTHER[: len(DATA) // 2], Content_Length=len(DATA))

    assert read_weights(registered(server.serve("/a", other_half, DATA)), "toy.a") == DATA
    assert [visit.start for visit in server.requests] == [0, len(DATA) // 2, 0]


def test_49_a_server_that_always_mixes_files_is_given_up(server):
    def mixed(visit):
        visit.answer_range(OTHER, until=None if visit.start else 65536)

    assert "sends other bytes" in refused(server.serve("/a", mixed))
    assert len(server.requests) == 4


def test_45_a_redirect_loop_ends(server):
    url = server.serve("/a", lambda visit: visit.answer(302, Location="/a"))
    assert "redirected more than 5 times" in refused(url)
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    "target",
    [
        "file:///etc/passwd", "ftp://127.0.0.1/a", "data:,abc", "http://169.254.169.254/latest",
        "http://example.org/a", "//example.org/a", "http://127.0.0.1.example.org/a",
        "http://user@example.org/a", "https:///a", "https://[::1", "gopher://127.0.0.1/",
    ],
)  # fmt: skip
def test_46_a_redirect_leads_to_https_only(server, target):
    told = refused(server.serve("/a", lambda visit: visit.answer(302, Location=target)))
    assert "only https is opened" in told or "no url" in told or "not a usable url" in told


def test_46_https_does_not_lead_to_this_machine(monkeypatch, server):
    """A public server must not make us ask a service that only this machine reaches."""
    moved = type("Moved", (), {"status": 302, "getheader": lambda *_: server.url("/a")})
    pretend = lambda target, headers: connection.contextlib.nullcontext(moved())  # noqa: E731
    monkeypatch.setattr(connection, "_answer", pretend)
    assert "only https is opened" in refused("https://example.org/a")
    assert server.requests == []


def test_46_a_token_is_sent_to_its_own_host_only(server):
    with serving() as elsewhere:
        there = elsewhere.serve("/a", DATA)
        server.serve("/again", lambda visit: visit.answer(302, Location=there))
        place = connection.Place(
            server.serve("/a", lambda visit: visit.answer(302, Location="/again")),
            {"authorization": "Bearer secret"},
        )
        with connection.get(place, {}) as answer:
            assert answer.read() == DATA
        sent = [visit.headers.get("Authorization") for visit in server.requests]
        assert sent == ["Bearer secret", "Bearer secret"]
        assert elsewhere.requests[0].headers.get("Authorization") is None


def test_51_a_host_that_cannot_be_found_is_said(monkeypatch):
    def nowhere(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    assert "has a host that cannot be found" in refused("https://weights.invalid/a")


def test_51_a_connection_that_is_refused_is_said():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert "refused the connection" in refused(f"http://127.0.0.1:{port}/a")


@pytest.mark.parametrize("here", [False, True])
def test_51_offline_opens_no_connection(server, monkeypatch, here):
    file = registered(server.serve("/a", DATA))
    if here:
        fetch_file(file, "toy.a")
    server.requests.clear()
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    if here:
        assert read_weights(file, "toy.a") == DATA
    else:
        with pytest.raises(OfflineError, match=r"try: zoo weights fetch toy\.a without") as error:
            read_weights(file, "toy.a")
        assert error.value.exit_code == 6
    assert server.requests == []


def test_51_a_damaged_file_is_refused_offline_and_stays_for_inspection(server, monkeypatch):
    file = registered(server.serve("/a", DATA))
    path = fetch_file(file, "toy.a")
    path.write_bytes(OTHER)
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    with pytest.raises(WeightsError, match="is not the registered one") as error:
        read_weights(file, "toy.a")
    assert error.value.exit_code == 5
    assert path.read_bytes() == OTHER
    assert len(server.requests) == 1


@pytest.fixture
def https(tmp_path, server):
    """The url of a file on a server with a certificate, and the path of the certificate."""
    import ssl

    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
               "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out",
               certificate]  # fmt: skip
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no openssl to make a certificate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve("/a", DATA)
    return f"https://localhost:{server.server_port}/a", certificate


def test_52_a_certificate_that_nobody_vouches_for_is_refused(https, server):
    assert "has a bad certificate" in refused(https[0])
    assert server.requests == []


@pytest.mark.skipif(os.name != "posix", reason="OpenSSL's own setting, for Linux")
def test_52_a_file_comes_over_https(https, monkeypatch):
    url, certificate = https
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert read_weights(registered(url), "toy.a") == DATA


def test_a_proxy_of_the_environment_is_used(server, monkeypatch):
    asked = []

    def tunnel(visit):
        asked.append((visit.path, visit.headers.get("Proxy-Authorization")))
        visit.answer(502)

    monkeypatch.setattr(Visit, "do_CONNECT", tunnel, raising=False)
    monkeypatch.setenv("https_proxy", f"http://me:secret@127.0.0.1:{server.server_port}")
    assert "broke the connection (Tunnel" in refused("https://weights.invalid/a")
    assert set(asked) == {("weights.invalid:443", "Basic bWU6c2VjcmV0")}


def test_60_a_server_does_not_name_the_file(server):
    def named(visit):
        visit.answer(200, DATA, Content_Disposition='attachment; filename="../../evil"')

    file = registered(server.serve("/a", named))
    assert fetch_file(file, "toy.a").name == file.sha256
    assert left() == [file.sha256]
    assert not list(Path(os.environ["ZOO_CACHE"]).parent.rglob("evil"))


def test_what_a_server_says_obeys_no_terminal(server):
    def colored(visit):
        visit.wfile.write(b"HTTP/1.1 404 \x1b[31mred\r\nContent-Length: 0\r\n\r\n")

    assert "\x1b" not in refused(server.serve("/a", colored))
