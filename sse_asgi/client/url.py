"""What messages show of a URL: they end up in logs, and credentials and tokens must not."""

import re

_QUERY = re.compile(r"[?#].*", re.DOTALL)
_USER = re.compile(r"^([^/]*//)[^/]*@")


def shown_url(url: object) -> str:
    """Return a URL without its user and password, its query and its fragment, valid or not."""
    return _USER.sub(r"\1", _QUERY.sub("", str(url)))
