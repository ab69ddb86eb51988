"""Which bearer keys let in whom, and until when."""

import hashlib

from jobico.tenancy import KeyInfo
from nodes.listener.credentials import Credentials

TOKEN = "jbc_a_" + "x" * 43


def info(revoked_ms: int = 0) -> KeyInfo:
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    return KeyInfo(id="k1", tenant="acme", role="admin", digest=digest, revoked_ms=revoked_ms)


def test_a_key_is_found_by_its_digest_alone() -> None:
    assert Credentials([info()]).find(TOKEN) == info()
    assert Credentials([info()]).find(TOKEN[:-1]) is None
    assert Credentials([info()]).find(info().digest) is None


def test_a_key_that_is_replaced_is_live_until_its_time_and_not_a_millisecond_longer() -> None:
    now_ms = 1_000
    credentials = Credentials([info(revoked_ms=1_500)], lambda: now_ms)
    now_ms = 1_499
    assert credentials.find(TOKEN) is not None
    now_ms = 1_500
    assert credentials.find(TOKEN) is None


def test_a_change_revokes_a_key_at_once() -> None:
    credentials = Credentials([info()], lambda: 1_000)
    credentials.put("k1", info(revoked_ms=1_000))
    assert credentials.find(TOKEN) is None
    credentials.put("k1", None)  # and again is no harm
    assert credentials.find(TOKEN) is None
