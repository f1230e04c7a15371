"""Which addresses may be fetched from: those of the public internet, and what the site allows besides."""

import ipaddress
import socket
from collections.abc import Iterator
from typing import Final

from django.conf import settings

from documents.services import UploadRefused

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NEVER: Final = [
    ipaddress.ip_network(network)
    for network in (
        "100.64.0.0/10",  # carriers' NAT
        "168.63.129.16/32",  # a cloud's own services, on an address that looks public
        "192.0.0.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",  # Teredo and other protocols that carry addresses in addresses
        "2001:db8::/32",
        "3fff::/20",
        "5f00::/16",
        "fec0::/10",
    )
]
"""Not to be reached from outside, or leading elsewhere; said here because what Python counts among them changes."""
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_COMPATIBLE: Final = ipaddress.ip_network("::/96")


def resolve(host: str, port: int) -> list[str]:
    """The host's addresses, to connect to these and no others. Raises UploadRefused if one of them is not allowed."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except (socket.gaierror, UnicodeError) as error:
        raise UploadRefused("unreachable", f"There is no server of the name {host}.") from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not addresses or not all(is_allowed(address) for address in addresses):
        detail = f"{host} is in a private network. Files are fetched from the public internet only."
        raise UploadRefused("forbidden_address", detail)
    return addresses


def is_allowed(address: str) -> bool:
    """Whether a connection to this address may be made."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if any(ip in network for network in settings.IMPORT_NETWORKS):
        return True
    return all(_is_public(inner) for inner in _meant(ip))


def _meant(ip: Address) -> Iterator[Address]:
    """The address, and the IPv4 addresses that an IPv6 address stands for."""
    if isinstance(ip, ipaddress.IPv4Address):
        yield ip
        return
    carried = ip.ipv4_mapped or ip.sixtofour
    if carried is None and (ip in _NAT64 or ip in _COMPATIBLE):
        carried = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    yield carried or ip
    if ip.teredo:
        yield from ip.teredo


def _is_public(ip: Address) -> bool:
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not any(ip in network for network in _NEVER)
