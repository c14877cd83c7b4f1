from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from openleadr.utils import certificate_fingerprint

from protocols.errors import UntrustedCertificate
from protocols.openadr2b.certificate import Authority, Pinned, fingerprint
from tests.certificates import NEW_YEAR, YEAR, authority

NOW = NEW_YEAR + timedelta(days=30)
ROOT = authority()
VTN = ROOT.vouch("vtn")


def test_a_fingerprint_is_written_as_another_stack_writes_it() -> None:
    assert fingerprint(VTN.der) == certificate_fingerprint(VTN.pem.decode())


def test_a_pinned_certificate_is_trusted_by_its_short_or_whole_digest() -> None:
    from hashlib import sha256

    short, whole = fingerprint(VTN.der), sha256(VTN.der).hexdigest()
    for text in (short, short.lower(), short.replace(":", ""), whole):
        assert Pinned(text).check([VTN.der], NOW) == VTN.certificate
    other = fingerprint(ROOT.der)
    assert Pinned(other, short).check([VTN.der], NOW) == VTN.certificate
    with pytest.raises(
        UntrustedCertificate, match=f"signed by the certificate {short}, but {other} was expected"
    ) as no:
        Pinned(other).check([VTN.der], NOW)
    assert no.value.signer == short


@pytest.mark.parametrize("text", ["", "AA:BB", "no fingerprint", "AA:" * 19 + "AA"])
def test_what_is_no_fingerprint_is_said_to_be_so(text: str) -> None:
    with pytest.raises(ValueError, match="fingerprint"):
        Pinned(text)
    with pytest.raises(ValueError, match="no fingerprint to trust"):
        Pinned()


def test_an_authority_vouches_directly_or_through_others() -> None:
    trust = Authority(authority("another").pem + ROOT.pem)
    assert trust.check([VTN.der], NOW) == VTN.certificate
    between = ROOT.vouch("between", authority=True)
    leaf = between.vouch("leaf")
    assert trust.check([leaf.der, between.der], NOW) == leaf.certificate
    with pytest.raises(UntrustedCertificate, match="no authority that we know vouches"):
        trust.check([leaf.der], NOW)


def test_who_is_no_authority_vouches_for_nobody() -> None:
    trust = Authority(ROOT.pem)
    for chain in (
        [VTN.vouch("pretender").der, VTN.der],
        [authority("authority").vouch("vtn").der],
        [authority("self").der],
    ):
        with pytest.raises(UntrustedCertificate, match="add its authority to our file, or pin its fingerprint"):
            trust.check(chain, NOW)
    with pytest.raises(ValueError, match="PEM"):
        Authority(b"nothing")


def test_a_certificate_that_is_not_for_signing_does_not_sign() -> None:
    with pytest.raises(UntrustedCertificate, match="no digital signature"):
        Authority(ROOT.pem).check([ROOT.vouch("cipher", signs=False).der], NOW)


def test_a_certificate_is_valid_from_its_first_to_its_last_second() -> None:
    for trust in (Pinned(fingerprint(VTN.der)), Authority(ROOT.pem)):
        for well in (NEW_YEAR, NEW_YEAR + YEAR):
            assert trust.check([VTN.der], well) == VTN.certificate
        with pytest.raises(UntrustedCertificate, match=r"expired at 2031-01-01.*: the sender needs a new one"):
            trust.check([VTN.der], NEW_YEAR + YEAR + timedelta(seconds=1))
        with pytest.raises(UntrustedCertificate, match=r"valid from 2030-01-01.* our clock says 2029-12-31T23:59"):
            trust.check([VTN.der], NEW_YEAR - timedelta(seconds=1))


def test_what_is_no_certificate_is_not_trusted() -> None:
    for trust in (Pinned(fingerprint(b"nonsense")), Authority(ROOT.pem)):
        with pytest.raises(UntrustedCertificate, match="cannot be read"):
            trust.check([b"nonsense"], NOW)
    with pytest.raises(UntrustedCertificate, match="cannot be read"):
        Authority(ROOT.pem).check([VTN.der, b"nonsense"], NOW)


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_no_changed_byte_of_a_certificate_is_vouched_for() -> None:
    trust = Authority(ROOT.pem)
    for place in range(len(VTN.der)):
        changed = VTN.der[:place] + bytes([VTN.der[place] ^ 1]) + VTN.der[place + 1 :]
        with pytest.raises(UntrustedCertificate):
            trust.check([changed], NOW)


def test_rsa_and_curves_vouch_for_each_other() -> None:
    root = authority("rsa", key=rsa.generate_private_key(65537, 2048))
    leaf = root.vouch("leaf")
    assert Authority(root.pem).check([leaf.der], NOW) == leaf.certificate
