"""Quotas: rates, queued events and bytes, and a Retry-After that is true."""

import pytest

from jobico.errors import QuotaExceeded, TooLarge
from jobico.quota import Drain, TenantUse, TokenBucket
from jobico.tenancy import Quotas


def test_a_bucket_lets_a_burst_of_one_second_pass_and_then_the_rate() -> None:
    bucket = TokenBucket(10, 0)
    for _ in range(10):
        assert bucket.wait_ms(1, 0) == 0
        bucket.take(1)
    assert bucket.wait_ms(1, 0) == 100
    assert bucket.wait_ms(1, 99) == 1
    assert bucket.wait_ms(1, 100) == 0


def test_what_a_bucket_tells_to_wait_is_what_it_takes() -> None:
    for count in (1, 3, 7, 50):
        bucket = TokenBucket(7, 0)
        bucket.take(7)
        wait_ms = bucket.wait_ms(count, 0)
        assert bucket.wait_ms(count, wait_ms - 1) == 1
        assert bucket.wait_ms(count, wait_ms) == 0


def test_a_batch_of_more_than_a_burst_passes_when_the_bucket_is_full_and_leaves_it_in_debt() -> None:
    bucket = TokenBucket(10, 0)
    assert bucket.wait_ms(100, 0) == 0
    bucket.take(100)
    assert bucket.wait_ms(1, 0) == 9_100
    assert bucket.wait_ms(1, 9_100) == 0


def test_a_bucket_never_holds_more_than_a_burst() -> None:
    bucket = TokenBucket(5, 0)
    assert bucket.wait_ms(5, 1_000_000) == 0
    bucket.take(5)
    assert bucket.wait_ms(1, 1_000_000) == 200


def test_a_drain_tells_by_how_fast_it_has_been() -> None:
    drain = Drain(0)
    for second in range(1, 31):
        drain.add(100, second * 1_000)
    assert drain.wait_ms(1_000, 30_000) == pytest.approx(10_000, rel=0.1)


def test_a_drain_that_stands_still_tells_the_longest_guess_and_never_less_than_a_second() -> None:
    assert Drain(0).wait_ms(1, 60_000) == 60_000
    drain = Drain(0)
    drain.add(1_000_000, 1_000)
    assert drain.wait_ms(1, 1_000) == 1_000


@pytest.mark.parametrize(
    ("quotas", "quota"),
    [
        (Quotas(events_per_s=2), "events_per_s"),
        (Quotas(queued_events=2), "queued_events"),
        (Quotas(queued_bytes=20), "queued_bytes"),
    ],
)
def test_each_quota_passes_at_its_bound_and_refuses_one_past_it(quotas: Quotas, quota: str) -> None:
    use = TenantUse(quotas, 0)
    use.admit(1, 10, 0)
    use.admit(1, 10, 0)
    with pytest.raises(QuotaExceeded) as caught:
        use.admit(1, 10, 0)
    assert caught.value.detail["quota"] == quota
    assert caught.value.retry_after_s > 0


def test_the_wait_that_a_rate_tells_is_enough() -> None:
    use = TenantUse(Quotas(events_per_s=3), 0)
    use.admit(3, 0, 0)
    with pytest.raises(QuotaExceeded) as caught:
        use.admit(2, 0, 0)
    use.admit(2, 0, round(caught.value.retry_after_s * 1_000))


def test_more_than_may_ever_be_queued_is_too_large() -> None:
    use = TenantUse(Quotas(queued_events=5, queued_bytes=100), 0)
    with pytest.raises(TooLarge):
        use.admit(6, 0, 0)
    with pytest.raises(TooLarge):
        use.admit(1, 101, 0)


def test_what_was_not_stored_is_given_back_with_its_share_of_the_rate() -> None:
    use = TenantUse(Quotas(events_per_s=1), 0)
    use.admit(1, 10, 0)
    use.give_back(1, 10)
    use.admit(1, 10, 0)
    assert (use.events, use.size_bytes) == (1, 10)


def test_quotas_that_change_count_at_once() -> None:
    use = TenantUse(Quotas(queued_events=1), 0)
    use.admit(1, 0, 0)
    use.set(Quotas(queued_events=2))
    use.admit(1, 0, 0)
    use.set(Quotas(queued_events=1))
    with pytest.raises(QuotaExceeded):
        use.admit(1, 0, 0)
