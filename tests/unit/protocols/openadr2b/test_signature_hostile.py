from base64 import b64decode, b64encode
from collections.abc import Callable
from copy import deepcopy

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from lxml import etree

from protocols.errors import (
    MalformedMessage,
    MessageTooLarge,
    NotAuthentic,
    UntrustedCertificate,
)
from protocols.openadr2b.canonical import EXCLUSIVE, INCLUSIVE, INCLUSIVE_11
from protocols.openadr2b.certificate import Authority, Pinned, fingerprint
from protocols.openadr2b.names import DS, OADR
from protocols.openadr2b.signature import encode_signed
from protocols.openadr2b.signature_parts import ENVELOPED
from protocols.xml import Element, parse
from tests.certificates import Identity
from tests.hand_signed import (
    FAKE,
    NOW,
    POLL,
    ROOT,
    VTN,
    algorithm,
    changed,
    one,
    other_message,
    read,
    signed_by_hand,
    signer,
)

MORE = "http://www.w3.org/2001/04/xmldsig-more#"
TRANSFORM = f"{DS}Transform"


async def test_entities_never_come_so_far() -> None:
    body = encode_signed(POLL, signer(), NOW).replace(b"?>", b'?><!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/x">]>', 1)
    with pytest.raises(MalformedMessage, match="document type declaration"):
        await read(body.replace(b"ven-1", b"&x;"))


async def test_costly_namespaces_never_come_so_far() -> None:
    many = " ".join(f'xmlns:n{index}="urn:n"' for index in range(70))
    body = encode_signed(POLL, signer(), NOW).replace(b"<ds:KeyInfo", f"<ds:KeyInfo {many}".encode())
    with pytest.raises(MessageTooLarge, match="namespaces"):
        await read(body)


# What somebody without a key may try.


def other_stamp(root: Element) -> None:
    one(root, ".//dsp:nonce").text = "0" * 32


def other_digest(root: Element) -> None:
    one(root, ".//ds:DigestValue").text = b64encode(bytes(32)).decode()


def other_signature(root: Element) -> None:
    one(root, ".//ds:SignatureValue").text = b64encode(bytes(64)).decode()


def shorter_signature(root: Element) -> None:
    one(root, ".//ds:SignatureValue").text = b64encode(bytes(63)).decode()


def padded_signature(root: Element) -> None:
    element = one(root, ".//ds:SignatureValue")
    octets = b64decode(element.text or "")
    element.text = b64encode(octets[:32] + b"\0" + octets[32:]).decode()


def other_certificate(root: Element) -> None:
    one(root, ".//ds:X509Certificate").text = b64encode(FAKE.der).decode()


def own_message_in_place_of_the_signed_one(root: Element) -> None:
    """The signed object goes where nobody reads it, with its id; another stands where it stood."""
    signed = one(root, "oadr:oadrSignedObject")
    forged = deepcopy(signed)
    other_message(forged)
    del forged.attrib[OADR + "Id"]
    root.replace(signed, forged)
    one(root, "ds:Signature/ds:KeyInfo").append(signed)


def own_message_with_the_same_id(root: Element) -> None:
    signed = one(root, "oadr:oadrSignedObject")
    forged = deepcopy(signed)
    other_message(forged)
    root.replace(signed, forged)
    one(root, "ds:Signature/ds:KeyInfo").append(signed)


def own_message_beside_the_signed_one(root: Element) -> None:
    forged = deepcopy(one(root, "oadr:oadrSignedObject"))
    other_message(forged)
    root.append(forged)


def own_message_within_the_signed_one(root: Element) -> None:
    one(root, "oadr:oadrSignedObject").insert(0, deepcopy(one(root, ".//oadr:oadrPoll")))


def wrapped_in_an_own_payload(root: Element) -> None:
    inner = deepcopy(root)
    for child in list(root)[1:]:
        root.remove(child)
    signed = etree.SubElement(root, OADR + "oadrSignedObject")
    signed.append(inner)


def own_stamp_beside_the_signed_one(root: Element) -> None:
    found = deepcopy(one(root, ".//ds:SignatureProperties"))
    one(root, "ds:Signature/ds:Object").append(found)


def second_signature(root: Element) -> None:
    root.insert(0, deepcopy(root[0]))


def signature_in_the_signature(root: Element) -> None:
    one(root, "ds:Signature/ds:KeyInfo").append(deepcopy(root[0]))


def signature_at_the_end(root: Element) -> None:
    root.append(root[0])


def no_stamp(root: Element) -> None:
    root[0].remove(one(root, "ds:Signature/ds:Object"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (other_message, "oadr:oadrSignedObject is not what .* signed: it was changed on the way"),
        (other_stamp, "dsp:ReplayProtect is not what .* signed"),
        (other_digest, "the signature is not one by the certificate"),
        (other_signature, "the signature is not one by the certificate"),
        (shorter_signature, "the signature is not one by the certificate"),
        (padded_signature, "the signature is not one by the certificate"),
        (other_certificate, "but .* was expected"),
        (own_message_in_place_of_the_signed_one, "no oadr:oadrSignedObject with the oadr:Id ''"),
        (own_message_with_the_same_id, "oadr:oadrSignedObject is not what"),
        (own_message_beside_the_signed_one, "oadr:oadrPayload holds ds:Signature, oadr:oadrSignedObject, oadr:"),
        (own_message_within_the_signed_one, "oadr:oadrSignedObject is not what"),
        (wrapped_in_an_own_payload, "more than one ds:Signature"),
        (own_stamp_beside_the_signed_one, "dsp:ReplayProtect is not what"),
        (second_signature, "oadr:oadrPayload holds ds:Signature, ds:Signature"),
        (signature_in_the_signature, "more than one ds:Signature"),
        (signature_at_the_end, "oadr:oadrPayload holds oadr:oadrSignedObject, ds:Signature, expected ds:Signature"),
        (no_stamp, "ds:Signature holds .*, expected .*, ds:Object"),
    ],
)
async def test_hands_laid_on_a_message_show(change: Callable[[Element], None], says: str) -> None:
    body = encode_signed(POLL, signer(), NOW)
    for trust in (Pinned(fingerprint(VTN.der)), Authority(ROOT.pem)):
        with pytest.raises(NotAuthentic, match=says if change is not other_certificate else "certificate"):
            await read(changed(body, change), trust)


# What a sender may sign, and what we do not take even from whom we trust.


def uri(index: int, text: str) -> Callable[[Element], None]:
    return lambda root: root.findall(f".//{DS}Reference")[index].set("URI", text)


def third_reference(root: Element) -> None:
    info = one(root, ".//ds:SignedInfo")
    info.append(deepcopy(info[-1]))


def one_reference(root: Element) -> None:
    info = one(root, ".//ds:SignedInfo")
    info.remove(info[-1])


def stamp_twice(root: Element) -> None:
    found = one(root, ".//dsp:ReplayProtect")
    found.getparent().append(deepcopy(found))


def stamp_outside_what_is_signed(root: Element) -> None:
    properties = one(root, ".//ds:SignatureProperties")
    etree.SubElement(properties, DS + "SignatureProperty", Id="other", Target="")
    uri(1, "#other")(root)


def timestamp(text: str) -> Callable[[Element], None]:
    def change(root: Element) -> None:
        one(root, ".//dsp:timestamp").text = text

    return change


def nonce(text: str) -> Callable[[Element], None]:
    def change(root: Element) -> None:
        one(root, ".//dsp:nonce").text = text

    return change


def inherited_attribute(root: Element) -> None:
    root.set("{http://www.w3.org/XML/1998/namespace}lang", "en")


def one_id_for_two(root: Element) -> None:
    one(root, ".//ds:SignatureProperties").set("Id", "prop2")
    one(root, ".//ds:SignatureProperty").set("Id", "prop2")


def five_certificates(root: Element) -> None:
    data = one(root, ".//ds:X509Data")
    data.extend([deepcopy(data[0]) for _ in range(4)])


def output_length(root: Element) -> None:
    etree.SubElement(one(root, ".//ds:SignatureMethod"), DS + "HMACOutputLength").text = "1"


def path_transform(root: Element) -> None:
    step = etree.SubElement(
        one(root, ".//ds:Transforms"), TRANSFORM, Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116"
    )
    etree.SubElement(step, DS + "XPath").text = "false()"


def other_step(root: Element) -> None:
    one(root, ".//ds:Transform").tag = DS + "DigestMethod"


def nothing_signed_in_the_stamp(root: Element) -> None:
    one(root, f".//{DS}Reference[2]/{DS}Transforms").insert(0, etree.Element(TRANSFORM, Algorithm=ENVELOPED))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            algorithm(".//ds:SignatureMethod", "http://www.w3.org/2000/09/xmldsig#rsa-sha1"),
            "of which we accept .*rsa-sha256",
        ),
        (algorithm(".//ds:SignatureMethod", MORE + "hmac-sha256"), "of which we accept"),
        (algorithm(".//ds:SignatureMethod", MORE + "rsa-sha256"), "has no key"),
        (
            algorithm(".//ds:DigestMethod", "http://www.w3.org/2000/09/xmldsig#sha1"),
            "ds:DigestMethod .*#sha1', of which",
        ),
        (
            algorithm(".//ds:CanonicalizationMethod", INCLUSIVE + "#WithComments"),
            "ds:CanonicalizationMethod .* none that",
        ),
        (
            algorithm(".//ds:Transform", "http://www.w3.org/TR/1999/REC-xslt-19991116"),
            "ds:Transform .* none that we accept",
        ),
        (
            algorithm(".//ds:Transform", "http://www.w3.org/2000/09/xmldsig#base64"),
            "ds:Transform .* none that we accept",
        ),
        (path_transform, "ds:Transforms with more than a canonicalisation"),
        (other_step, "ds:Transforms with more than a canonicalisation"),
        (output_length, "ds:SignatureMethod"),
        (uri(0, "#prop"), "the message itself is not signed"),
        (uri(0, "http://elsewhere/"), "ds:Reference 'http://elsewhere/', expected #"),
        (uri(0, ""), "ds:Reference '', expected #"),
        (uri(0, "#xpointer(/)"), "expected #"),
        (uri(1, "#oadrSignedObject"), "dsp:ReplayProtect is not signed"),
        (nothing_signed_in_the_stamp, "dsp:ReplayProtect is not signed"),
        (third_reference, "ds:SignedInfo holds"),
        (one_reference, "ds:SignedInfo holds"),
        (stamp_twice, "2 dsp:ReplayProtect"),
        (stamp_outside_what_is_signed, "0 dsp:ReplayProtect in what was signed"),
        (timestamp(""), "dsp:timestamp '' is no instant"),
        (timestamp("tomorrow"), "is no instant"),
        (timestamp("2030-02-30T12:00:00Z"), "is no instant"),
        (timestamp("0001-01-01T00:00:00+23:59"), "is no instant"),
        (nonce(""), "a nonce of 0 characters"),
        (nonce("n" * 257), "a nonce of 257 characters"),
        (inherited_attribute, "oadr:oadrPayload has an xml: attribute"),
        (one_id_for_two, "two elements with one id"),
        (five_certificates, "5 certificates, more than the 4"),
    ],
)
async def test_other_ways_to_sign_are_refused(change: Callable[[Element], None], says: str) -> None:
    with pytest.raises(NotAuthentic, match=says):
        await read(signed_by_hand(change))


# What other stacks do, and we take.


def without_transforms(root: Element) -> None:
    for transforms in root.findall(f".//{DS}Transforms"):
        transforms.getparent().remove(transforms)


def exclusive(root: Element) -> None:
    for found in (*root.iter(TRANSFORM), *root.iter(DS + "CanonicalizationMethod")):
        found.set("Algorithm", EXCLUSIVE)


def references_the_other_way_round(root: Element) -> None:
    info = one(root, ".//ds:SignedInfo")
    info.append(info[2])


def enveloped_and_canonical(root: Element) -> None:
    one(root, ".//ds:Transforms").insert(0, etree.Element(TRANSFORM, Algorithm=ENVELOPED))


def id_without_namespace(root: Element) -> None:
    del root[1].attrib[OADR + "Id"]
    root[1].set("Id", "oadrSignedObject")


def properties_signed(root: Element) -> None:
    del one(root, ".//ds:Object").attrib["Id"]
    one(root, ".//ds:SignatureProperties").set("Id", "prop")


def property_signed(root: Element) -> None:
    del one(root, ".//ds:Object").attrib["Id"]
    one(root, ".//ds:SignatureProperty").set("Id", "prop")


def nothing(root: Element) -> None:
    """As it is."""


def written_over_lines(root: Element) -> None:
    etree.indent(root)


@pytest.mark.parametrize(
    "change",
    [
        nothing,
        without_transforms,
        exclusive,
        algorithm(".//ds:Transform", INCLUSIVE_11),
        algorithm(".//ds:Transform", ENVELOPED),
        enveloped_and_canonical,
        references_the_other_way_round,
        id_without_namespace,
        properties_signed,
        property_signed,
        written_over_lines,
        timestamp("2030-01-31T12:00:00"),
        timestamp("2030-01-31T14:00:00.1234567+02:00"),
    ],
)
async def test_ways_of_other_stacks_are_taken(change: Callable[[Element], None], rsa_vtn: Identity) -> None:
    assert (await read(signed_by_hand(change))).message == POLL
    assert (await read(signed_by_hand(change, rsa_vtn), Authority(ROOT.pem))).message == POLL


async def test_a_weak_key_is_not_taken_from_anybody() -> None:
    weak = ROOT.vouch("weak", key=rsa.generate_private_key(65537, 1024))
    body = signed_by_hand(
        lambda root: setattr(one(root, ".//ds:X509Certificate"), "text", b64encode(weak.der).decode())
    )
    body = changed(body, algorithm(".//ds:SignatureMethod", MORE + "rsa-sha256"))
    with pytest.raises(UntrustedCertificate, match="an RSA key of 1024 bits"):
        await read(body, Pinned(fingerprint(weak.der)))


@pytest.mark.parametrize("path", [".//ds:SignatureValue", ".//ds:X509Certificate"])
async def test_base64_is_written_one_way(path: str) -> None:
    def loosen(root: Element) -> None:
        element = one(root, path)
        text = element.text or ""
        # The bits after the last octet say nothing, so that several characters stand for it.
        place = len(text.rstrip("=")) - 1
        element.text = text[:place] + chr(ord(text[place]) + 1) + text[place + 1 :]

    body = encode_signed(POLL, signer(padded()), NOW)
    assert one(parse(body), path).text.endswith("=")
    with pytest.raises(NotAuthentic, match="is not base64"):
        await read(changed(body, loosen), Authority(ROOT.pem))


def padded() -> Identity:
    """An identity whose certificate is not a multiple of three octets."""
    # The length hangs on the signature's own, too, which is drawn anew each time.
    made = (ROOT.vouch(f"vtn-{'x' * length}") for length in range(20))
    return next(found for found in made if len(found.der) % 3)
