"""Allowed names in the header Host.

Otherwise a page of another site, whose name points to this machine (DNS rebinding), could use the server from a user's
browser. Such a page has a name, so a Host that is an IP address is safe.
"""

import ipaddress
import re
import socket
from collections.abc import Sequence

from core.errors import ConfigError
from core.io.text import quoted
from tuning.serving.limits import App, Message, Receive, Send

LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
ANY_ADDRESS = "any address"
"""Entry in a list of names for each Host that is an IP address."""
_NAME = re.compile(r"\*|(\*\.)?[a-z0-9._-]+|\[[0-9a-f:.]+\]")


def hosts_of(host: str, allowed: str | None) -> tuple[str, ...]:
    """Return the allowed names: local ones, the bound address, and `allowed`.

    Args:
        host: Address of the server. If it is 0.0.0.0 or ::, this machine's names and any IP address are allowed, too.
        allowed: Names separated by commas; *.NAME for all below NAME, * for all.

    Raises:
        ConfigError: An entry is no name.
    """
    names = [name.strip().lower() for name in (allowed or "").split(",") if name.strip()]
    for name in names:
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"--allowed-hosts must be names without ports, separated by commas, or *, got {quoted(name)}"
            )
    bound = f"[{host}]" if ":" in host else host
    everywhere = host in ("0.0.0.0", "::")
    own = (socket.gethostname(), socket.getfqdn(), ANY_ADDRESS) if everywhere else ()
    return tuple(dict.fromkeys((*LOCAL_NAMES, bound.lower(), *(name.lower() for name in own), *names)))


def check_hosts(app: App, hosts: Sequence[str]) -> App:
    """Return an application that answers 400 to a Host that is not in the result of `hosts_of`."""
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    names = [name for name in hosts if name != ANY_ADDRESS]
    guarded: App = TrustedHostMiddleware(app, names, www_redirect=False)
    if ANY_ADDRESS not in hosts:
        return guarded

    async def checked(scope: Message, receive: Receive, send: Send) -> None:
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        await (app if _is_address(host) else guarded)(scope, receive, send)

    return checked


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(re.sub(r":\d*$", "", host).strip("[]") if "]" in host or host.count(":") < 2 else host)
    except ValueError:
        return False
    return True
