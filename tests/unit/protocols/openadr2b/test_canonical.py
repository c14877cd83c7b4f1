import pytest
from lxml import etree

from protocols.errors import MessageTooLarge, NotAuthentic
from protocols.openadr2b.canonical import EXCLUSIVE, INCLUSIVE, INCLUSIVE_11, Method, canonical, check_cost, read_method
from protocols.xml import parse

BODY = b"""<a:r xmlns:a="urn:a" xmlns:unused="urn:u" xmlns="urn:d">
  <a:x z="1"  b='2'><y/>caf\xc3\xa9 &lt; </a:x>tail</a:r>"""


@pytest.mark.parametrize("algorithm", [INCLUSIVE, INCLUSIVE_11])
def test_an_inclusive_form_has_the_namespaces_that_are_inherited(algorithm: str) -> None:
    found = canonical(parse(BODY)[0], Method(algorithm=algorithm))
    assert found.octets.decode() == (
        '<a:x xmlns="urn:d" xmlns:a="urn:a" xmlns:unused="urn:u" b="2" z="1"><y></y>café &lt; </a:x>'
    )
    assert [child.tag for child in found.element] == ["{urn:d}y"]
    assert found.element.getparent() is None


def test_an_exclusive_form_has_those_that_are_used_or_named() -> None:
    element = parse(BODY)[0]
    assert canonical(element, Method(algorithm=EXCLUSIVE)).octets.decode() == (
        '<a:x xmlns:a="urn:a" b="2" z="1"><y xmlns="urn:d"></y>café &lt; </a:x>'
    )
    named = canonical(element, Method(algorithm=EXCLUSIVE, prefixes=("unused",)))
    assert named.octets.startswith(b'<a:x xmlns:a="urn:a" xmlns:unused="urn:u" b=')


def test_the_form_is_that_of_the_whole_document_where_nothing_is_inherited() -> None:
    root = parse(BODY)
    whole = etree.tostring(root, method="c14n")
    assert canonical(root, Method(algorithm=INCLUSIVE)).octets == whole


def test_a_copy_knows_the_lines_of_the_original() -> None:
    copy = canonical(parse(b"<r>\n\n<x>\n<y/></x></r>")[0], Method(algorithm=INCLUSIVE)).element
    assert (copy.sourceline, copy[0].sourceline) == (3, 4)


def test_a_namespace_that_is_no_uri_has_no_canonical_form() -> None:
    with pytest.raises(NotAuthentic, match="r has no canonical form"):
        canonical(parse(b'<r xmlns="relative"/>'), Method(algorithm=INCLUSIVE))


def test_attributes_that_would_be_inherited_are_refused() -> None:
    for attribute in ('xml:lang="en"', 'xml:space="preserve"', 'xml:base="http://elsewhere"'):
        root = parse(f"<r {attribute}><x/></r>".encode())
        with pytest.raises(NotAuthentic, match="r has an xml: attribute"):
            canonical(root[0], Method(algorithm=INCLUSIVE))
    own = parse(b'<r><x xml:lang="en"/></r>')
    assert canonical(own[0], Method(algorithm=INCLUSIVE)).octets == b'<x xml:lang="en"></x>'


@pytest.mark.parametrize(
    ("inside", "says"),
    [
        ('Algorithm="http://www.w3.org/TR/2001/REC-xml-c14n-20010315#WithComments"', "none that we accept"),
        ('Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116"', "none that we accept"),
        ("", "'' is none that we accept"),
        (f'Algorithm="{INCLUSIVE}"><x', "parameters that we do not accept: x"),
        (f'Algorithm="{EXCLUSIVE}"><x', "parameters that we do not accept: x"),
        (
            f'Algorithm="{EXCLUSIVE}"><InclusiveNamespaces xmlns="{EXCLUSIVE}" PrefixList="{"p " * 33}"',
            "parameters that we do not accept",
        ),
        (
            f'Algorithm="{EXCLUSIVE}"><i:InclusiveNamespaces xmlns:i="{EXCLUSIVE}"/><x',
            "parameters that we do not accept",
        ),
        (
            f'Algorithm="{EXCLUSIVE}"><InclusiveNamespaces xmlns="{EXCLUSIVE}" PrefixList="a #default"',
            "parameters that we do not accept",
        ),
    ],
)
def test_other_methods_and_parameters_are_refused(inside: str, says: str) -> None:
    end = "</m>" if "><" in inside else ""
    with pytest.raises(NotAuthentic, match=says):
        read_method(parse(f"<m {inside}/>{end}".encode()))


def test_prefixes_are_read() -> None:
    text = f'<m Algorithm="{EXCLUSIVE}"><i:InclusiveNamespaces xmlns:i="{EXCLUSIVE}" PrefixList="a  b"/></m>'
    assert read_method(parse(text.encode())) == Method(algorithm=EXCLUSIVE, prefixes=("a", "b"))


def test_what_would_take_long_is_refused_at_once() -> None:
    many = b" ".join(b'xmlns:n%d="u"' % index for index in range(40_000))
    nested = b"".join(b'<x xmlns:n%d="u">' % index for index in range(30)) + b"</x>" * 30
    crowded = b" ".join(b'a%d="u"' % index for index in range(60_000))
    for body, says in (
        (b"<r " + many + b">" + b"<b/>" * 1000 + b"</r>", "32 namespaces"),
        (b'<r xmlns:a="a" xmlns:b="b" xmlns:c="c">' + nested + b"</r>", "32 namespaces"),
        (b"<r><b " + crowded + b"/></r>", "64 attributes"),
    ):
        root = parse(body)
        with pytest.raises(MessageTooLarge, match=says):
            check_cost(root)
    check_cost(parse(b"<r>" + nested + b"</r>"))
