"""Whether the session of a websocket's handshake is still valid."""

from typing import Any

from django.conf import settings as project_settings
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_user_model,
    load_backend,
)
from django.utils.crypto import constant_time_compare

__all__ = ["is_valid"]


def is_valid(session: Any, user: Any) -> bool:
    """Return whether a session still belongs to a user who may sign in.

    Unlike ``django.contrib.auth.get_user``, it changes nothing: a new session key would
    sign the person out, as a socket cannot set a cookie.

    Args:
        session: The session of the handshake; it is read again. None for a site that
            authenticates otherwise, whose sockets stay open.
        user: The user of the handshake.
    """
    if session is None:
        return True
    fresh = session.__class__(session.session_key)
    try:
        pk = get_user_model()._meta.pk.to_python(fresh[SESSION_KEY])
        backend = fresh[BACKEND_SESSION_KEY]
    except KeyError:
        return False
    if backend not in project_settings.AUTHENTICATION_BACKENDS:
        return False
    current: Any = load_backend(backend).get_user(pk)
    return bool(current == user) and _has_hash_of(current, fresh.get(HASH_SESSION_KEY) or "")


def _has_hash_of(user: Any, session_hash: str) -> bool:
    """Return whether a session was begun with the present password."""
    if not hasattr(user, "get_session_auth_hash"):
        return True
    hashes = [user.get_session_auth_hash()]
    if hasattr(user, "get_session_auth_fallback_hash"):
        hashes += user.get_session_auth_fallback_hash()
    return any(constant_time_compare(session_hash, each) for each in hashes)
