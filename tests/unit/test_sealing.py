"""A sealed secret opens with its key, its tenant and its name, and with nothing else."""

import pytest

from jobico import limits
from jobico.errors import CorruptRecord, InvalidInput, TooLarge
from jobico.sealing import new_sealing_key, seal_secret, unseal_secret

KEY, OLDER = new_sealing_key(), new_sealing_key()


def test_the_live_values_come_back_newest_first() -> None:
    sealed = seal_secret([KEY], [b"new \x00\xff", b"old"], tenant="acme", name="WEBHOOK")
    assert unseal_secret([KEY], sealed, tenant="acme", name="WEBHOOK") == (b"new \x00\xff", b"old")


def test_a_sealed_secret_shows_nothing_of_its_value_and_is_never_the_same_twice() -> None:
    first = seal_secret([KEY], [b"s3cret"], tenant="acme", name="A")
    second = seal_secret([KEY], [b"s3cret"], tenant="acme", name="A")
    assert b"s3cret" not in first
    assert first != second


@pytest.mark.parametrize(("tenant", "name"), [("other", "A"), ("acme", "B"), ("acmeA", ""), ("", "acmeA")])
def test_a_secret_that_was_moved_to_another_tenant_or_name_does_not_open(tenant: str, name: str) -> None:
    sealed = seal_secret([KEY], [b"s3cret"], tenant="acme", name="A")
    with pytest.raises(CorruptRecord, match="does not open"):
        unseal_secret([KEY], sealed, tenant=tenant, name=name)


def test_a_secret_with_any_bit_changed_does_not_open() -> None:
    sealed = seal_secret([KEY], [b"s3cret"], tenant="acme", name="A")
    for place in range(len(sealed)):
        damaged = bytearray(sealed)
        damaged[place] ^= 1
        with pytest.raises(CorruptRecord):
            unseal_secret([KEY], bytes(damaged), tenant="acme", name="A")


@pytest.mark.parametrize("length", [0, 1, 20, 21, 30])
def test_a_secret_that_is_cut_off_does_not_open(length: int) -> None:
    sealed = seal_secret([KEY], [b"s3cret"], tenant="acme", name="A")
    with pytest.raises(CorruptRecord):
        unseal_secret([KEY], sealed[:length], tenant="acme", name="A")


def test_a_replaced_key_still_opens_what_it_sealed_and_seals_no_more() -> None:
    older = seal_secret([OLDER], [b"s3cret"], tenant="acme", name="A")
    assert unseal_secret([KEY, OLDER], older, tenant="acme", name="A") == (b"s3cret",)
    newer = seal_secret([KEY, OLDER], [b"s3cret"], tenant="acme", name="A")
    with pytest.raises(CorruptRecord, match=r"keys/secrets\.key"):
        unseal_secret([OLDER], newer, tenant="acme", name="A")


@pytest.mark.parametrize("values", [[], [b""], [b"a", b""], [b"a"] * (limits.SECRET_VALUES_MAX + 1)])
def test_no_value_an_empty_one_and_too_many_are_refused(values: list[bytes]) -> None:
    with pytest.raises(InvalidInput):
        seal_secret([KEY], values, tenant="acme", name="A")


def test_a_value_at_the_bound_passes_and_one_byte_more_is_refused() -> None:
    longest = b"x" * limits.SECRET_BYTES_MAX
    sealed = seal_secret([KEY], [longest, longest], tenant="acme", name="A")
    assert unseal_secret([KEY], sealed, tenant="acme", name="A") == (longest, longest)
    with pytest.raises(TooLarge, match="SECRET_BYTES_MAX"):
        seal_secret([KEY], [longest + b"x"], tenant="acme", name="A")
