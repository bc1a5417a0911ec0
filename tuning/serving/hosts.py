"""Which names in the header Host are answered.

A page elsewhere whose name was pointed to this machine (DNS rebinding) could otherwise use the server from a user's
browser. Such a page has a name, so a Host that is an address is safe.
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
"""In a list of names: each Host that is an address."""
_NAME = re.compile(r"\*|(\*\.)?[a-z0-9._-]+|\[[0-9a-f:.]+\]")


def hosts_of(host: str, allowed: str | None) -> tuple[str, ...]:
    """Return the names that are answered: local ones, the address that is bound, and `allowed`.

    Args:
        host: Where the server listens. If it stands for all addresses, this machine's names and any address are added.
        allowed: Names with commas between them; *.NAME for all below NAME, * for all.

    Raises:
        ConfigError: One is no name.
    """
    names = [name.strip().lower() for name in (allowed or "").split(",") if name.strip()]
    for name in names:
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"--allowed-hosts must be names without ports, with commas between them, or *, got {quoted(name)}"
            )
    bound = f"[{host}]" if ":" in host else host
    everywhere = host in ("0.0.0.0", "::")
    own = (socket.gethostname(), socket.getfqdn(), ANY_ADDRESS) if everywhere else ()
    return tuple(dict.fromkeys((*LOCAL_NAMES, bound.lower(), *(name.lower() for name in own), *names)))


def check_hosts(app: App, hosts: Sequence[str]) -> App:
    """Return an application that answers 400 to another Host than `hosts_of` names."""
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
