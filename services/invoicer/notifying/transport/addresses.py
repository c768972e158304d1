"""Where notices may be sent: which addresses are taken, and which are refused. Pure.

A receiver is named by people with a finance key, but it is the invoicer that connects to it,
from where it stands: without a guard it could be made to ask its neighbours.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from shared.errors import InvalidInputError

MOST_CHARACTERS = 2_000
_HOST = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?|[0-9a-f:.]+")
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_MAILBOX = re.compile(rf"(?!.*=\?){_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+[A-Za-z]{{2,}}")
"""A mailbox; with ``=?`` mail programs would read it as other letters than it is written with."""

_CREDENTIALS = ipaddress.IPv6Address("fd00:ec2::254")
"""Where Amazon's cloud keeps a machine's credentials, by IPv6; by IPv4 it is link-local."""
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_GLOBAL = ipaddress.IPv6Network("2000::/3")
"""All that is given out of IPv6 to be reached from everywhere."""

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressRefusedError(InvalidInputError):
    """Nothing is sent to such an address."""

    code = "address_refused"


@dataclass(frozen=True, slots=True)
class WebAddress:
    """A receiver of HTTP; `target` is path and query, as they are asked for."""

    scheme: Literal["http", "https"]
    host: str
    port: int | None
    target: str

    @property
    def authority(self) -> str:
        """Give host and port, as they stand in a URL and in the header `Host`."""
        return at_port(self.host, self.port)


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A receiver of e-mail."""

    address: str


def read_address(url: str, *, private: bool) -> WebAddress | Mailbox:
    """Read where an endpoint is; raises `AddressRefusedError` with the reason.

    It is ``https://…``, or ``mailto:…``; with `private` also ``http://`` to this machine.
    """
    if len(url) > MOST_CHARACTERS or not url.isascii() or re.search(r"[\x00-\x20\x7f\\]", url):
        raise AddressRefusedError(
            f"an address has at most {MOST_CHARACTERS} ASCII characters, none of them a space;"
            " write other letters as %XX, and in a host's name as xn--…"
        )
    if url.startswith("mailto:"):
        return _read_mailbox(url.removeprefix("mailto:"))
    return _read_web_address(url, private=private)


def without_path(url: str) -> str:
    """Give an endpoint's address for those who may not know it whole; a mailbox stays as it is.

    Receivers put tokens into path and query: where there was one, ``/…`` stands for it.
    """
    parts = urlsplit(url)
    if parts.scheme == "mailto":
        return url
    rest = "/…" if parts.path.strip("/") or parts.query else ""
    return f"{parts.scheme}://{parts.netloc}{rest}"


def _read_mailbox(address: str) -> Mailbox:
    if not _MAILBOX.fullmatch(address):
        raise AddressRefusedError("write one mailbox, such as mailto:finance@acme.example")
    return Mailbox(address)


def _read_web_address(url: str, *, private: bool) -> WebAddress:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise AddressRefusedError("this is no URL; write https://HOST/PATH") from None
    if parts.scheme not in ("http", "https") or not host or not _HOST.fullmatch(host):
        raise AddressRefusedError("write https://HOST/PATH, or mailto:MAILBOX")
    if "@" in parts.netloc or parts.fragment:
        raise AddressRefusedError("leave user, password and #fragment out of the URL")
    literal = _literal(host)
    if parts.scheme == "http" and not is_this_machine(host):
        raise AddressRefusedError("messages go by https; only to this machine by http")
    if parts.scheme == "http" and not private:
        raise AddressRefusedError(
            "messages go by https; by http to this machine only with"
            " TALLYBOOK_WEBHOOK_PRIVATE_ADDRESSES=true"
        )
    if literal is not None:
        check_connection(str(literal), private=private)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return WebAddress("https" if parts.scheme == "https" else "http", host, port, target)


def check_connection(address: str, *, private: bool) -> None:
    """Raise `AddressRefusedError` unless a connection may go to an IP address.

    Addresses that only this network knows need `private`; link-local ones, where clouds keep
    their credentials, and those that are no one machine's are refused with it too.
    """
    ip = _innermost(ipaddress.ip_address(address.partition("%")[0]))
    if ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip == _CREDENTIALS:
        raise AddressRefusedError(f"nothing is sent to {address}: it is link-local or no machine's")
    if not private and not (ip.is_global and (ip.version == 4 or ip in _GLOBAL)):
        raise AddressRefusedError(
            f"nothing is sent to {address}, which is private; where receivers are on your own"
            " network: TALLYBOOK_WEBHOOK_PRIVATE_ADDRESSES=true"
        )


def at_port(host: str, port: int | None) -> str:
    """Write host and port as in a URL."""
    bracketed = f"[{host}]" if ":" in host else host
    return bracketed if port is None else f"{bracketed}:{port}"


def is_this_machine(host: str) -> bool:
    """Tell whether a name or address, as it is written, is that of the machine itself."""
    literal = _literal(host)
    return host == "localhost" if literal is None else literal.is_loopback


def _literal(host: str) -> IpAddress | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _innermost(ip: IpAddress) -> IpAddress:
    """Give the IPv4 address that an IPv6 address stands for, where it stands for one."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None) or ip
