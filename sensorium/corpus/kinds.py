"""What single finds may be: whether an address, a number or a value is somebody's own."""

import ipaddress
import json
import math
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

_READ = json.loads((Path(__file__).parent / "tables/domains.json").read_text())
DOMAINS = frozenset(_READ["countries"].split() + _READ["others"].split())
RESERVED = ("example", "invalid", "test", "localhost", "local")  # RFC 2606 and 6762

SERVERS = frozenset(
    """1.1.1.1 1.0.0.1 8.8.8.8 8.8.4.4 9.9.9.9 149.112.112.112 208.67.222.222 208.67.220.220
    4.2.2.1 4.2.2.2 64.6.64.6 64.6.65.6 77.88.8.8 77.88.8.1""".split()  # noqa: SIM905 (a table)
)
"""Public name servers, which everybody writes down."""

OWN = tuple(
    map(
        ipaddress.ip_network,
        """0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24
        192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24
        224.0.0.0/3""".split(),  # noqa: SIM905 (a table)
    )
)
"""Ranges that belong to nobody, written out: what Python calls private changes with its versions
(RFC 6890)."""

GLOBAL = ipaddress.ip_network("2000::/3")
PAPER = ipaddress.ip_network("2001:db8::/32")

PLACEHOLDER = re.compile(
    r"example|sample|test|fake|dummy|your|changeme|change_me|placeholder|redacted|xxxx|12345678|"
    r"abcdefg|foobar|hunter2|lorem|secret|password|token|default|public|random|invalid|0{6}",
    re.I,
)
UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.I)
LEAST_KEY = 16


def public_domain_name(domain: str) -> bool:
    """Whether mail can be addressed to a domain: its last label is known, none is reserved."""
    labels = domain.lower().split(".")
    if labels[-1] not in DOMAINS or labels[-1] in RESERVED:
        return False
    return labels[-2] not in RESERVED or labels[-1] not in ("com", "org", "net", "edu")


def own_ipv4(text: str) -> bool:
    """Whether a dotted quad is an address in the open net, and no public name server."""
    parts = text.split(".")
    if any(int(p) > 255 or (len(p) > 1 and p[0] == "0") for p in parts) or text in SERVERS:
        return False
    address = ipaddress.IPv4Address(text)
    return not any(address in network for network in OWN)


def own_ipv6(text: str) -> bool:
    """Whether a text is an IPv6 address in the open net."""
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return address in GLOBAL and address not in PAPER


def entropy(text: str) -> float:
    """Bits a character, by the characters' own shares."""
    shares = [count / len(text) for count in Counter(text).values()]
    return -sum(share * math.log2(share) for share in shares)


def looks_random(value: str) -> bool:
    """Whether a value could be a key: long, of letters and digits mixed, of no words or order."""
    if len(value) < LEAST_KEY or PLACEHOLDER.search(value) or UUID.fullmatch(value):
        return False
    digits = sum(c.isdigit() for c in value)
    if not 2 <= digits < len(value) or not any(c.isalpha() for c in value):
        return False
    steps = sum(ord(b) - ord(a) == 1 for a, b in pairwise(value))
    if steps > len(value) // 3:
        return False
    changes = sum(a.isdigit() != b.isdigit() for a, b in pairwise(value))
    mixed = changes >= 4 or (
        any(c.isupper() for c in value[1:]) and any(c.islower() for c in value)
    )
    return mixed and entropy(value) > 3.0
