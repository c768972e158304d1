"""Which addresses are taken: https and mailboxes, and nothing that only this network knows."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.invoicer.notifying.transport.addresses import (
    AddressRefusedError,
    Mailbox,
    WebAddress,
    check_connection,
    read_address,
    without_path,
)

PUBLIC = ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"]
PRIVATE = [
    "127.0.0.1", "127.9.9.9", "::1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1",
    "fd00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1",
    "2002:7f00:1::", "192.0.2.1", "240.0.0.1", "255.255.255.255",
    "::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b:1::7f00:1", "fec0::1",
]  # fmt: skip
NEVER = [
    "169.254.169.254", "fe80::1", "fe80::1%eth0", "0.0.0.0", "::", "224.0.0.1", "ff02::1",
    "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::",
    "fd00:ec2::254",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_connected_to(address: str) -> None:
    check_connection(address, private=False)
    check_connection(address, private=True)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_ones_only_where_the_setting_says_so(address: str) -> None:
    with pytest.raises(AddressRefusedError, match="TALLYBOOK_WEBHOOK_PRIVATE_ADDRESSES"):
        check_connection(address, private=False)
    check_connection(address, private=True)


@pytest.mark.parametrize("address", NEVER)
@pytest.mark.parametrize("private", [False, True])
def test_link_local_ones_and_those_of_no_machine_never(address: str, private: bool) -> None:
    with pytest.raises(AddressRefusedError):
        check_connection(address, private=private)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://erp.example", WebAddress("https", "erp.example", None, "/")),
        ("https://ERP.example:8443/a/b?c=d", WebAddress("https", "erp.example", 8443, "/a/b?c=d")),
        ("https://93.184.215.14/x", WebAddress("https", "93.184.215.14", None, "/x")),
        ("mailto:finance@acme.example", Mailbox("finance@acme.example")),
    ],
)
def test_what_is_taken(url: str, address: WebAddress | Mailbox) -> None:
    assert read_address(url, private=False) == address


def test_the_header_host_is_as_in_the_url() -> None:
    one = read_address("https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]:8443/", private=False)
    assert isinstance(one, WebAddress)
    assert one.authority == "[2606:2800:21f:cb07:6820:80da:af6b:8b2c]:8443"


@pytest.mark.parametrize(
    "url",
    [
        "", "erp.example", "ftp://erp.example/", "https://", "https:///path", "//erp.example",
        "http://erp.example/", "http://10.0.0.1/", "https://10.0.0.1/", "https://[::1]/",
        "https://user:secret@erp.example/", "https://erp.example@127.0.0.1/",
        "https://erp.example/#part", "https://erp.example:99999/", "https://erp.example:x/",
        "https://erp.example/a b", "https://erp.example\\@127.0.0.1/", "https://erp.example/\r\nx",
        "https://bücher.example/", "https://[fe80::1%25eth0]/", "https://[::1/",
        "https://" + "a" * 2_000, "http://localhost:8080/", "http://127.0.0.1/",
        "mailto:", "mailto:finance", "mailto:a@b.example,c@d.example",
        "mailto:a@b.example?bcc=c@d.example", "mailto:a@b.example%0aBcc:c@d.example",
        "mailto:=?utf-8?q?a=0aBcc=3a_c?=@b.example", "mailto:=?utf-8?b?!?=@b.example",
        "mailto:=?utf-8?q?a=40b.example=2c?=@b.example", "mailto:a..b@c.example",
        "mailto:.a@b.example", "mailto:a@b..example", "mailto:a@-b.example",
    ],
)  # fmt: skip
def test_what_is_refused(url: str) -> None:
    with pytest.raises(AddressRefusedError):
        read_address(url, private=False)


@pytest.mark.parametrize(
    ("url", "is_taken"),
    [
        ("http://localhost:8080/", True),
        ("http://127.0.0.1:8080/", True),
        ("http://[::1]:8080/", True),
        ("https://10.0.0.1/", True),
        ("http://10.0.0.1/", False),
        ("http://erp.internal/", False),
        ("http://169.254.169.254/latest/meta-data", False),
        ("https://169.254.169.254/", False),
    ],
)
def test_with_private_ones_allowed_http_goes_to_this_machine_alone(
    url: str, is_taken: bool
) -> None:
    if is_taken:
        read_address(url, private=True)
    else:
        with pytest.raises(AddressRefusedError):
            read_address(url, private=True)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://erp.example/hooks/T0KEN", "https://erp.example/…"),
        ("https://erp.example:8443/?token=T0KEN", "https://erp.example:8443/…"),
        ("https://erp.example?token=T0KEN", "https://erp.example/…"),
        ("https://[2606:2800::1]:8443/T0KEN", "https://[2606:2800::1]:8443/…"),
        ("http://127.0.0.1:9000/", "http://127.0.0.1:9000"),
        ("https://erp.example", "https://erp.example"),
        ("mailto:finance@acme.example", "mailto:finance@acme.example"),
    ],
)
def test_what_others_see_of_an_address_holds_no_token(url: str, shown: str) -> None:
    assert without_path(url) == shown
    assert without_path(shown) == shown


@given(
    st.one_of(
        st.text(),
        st.from_regex(r"(https?://|mailto:)[\x00-\x7f]*"),
        st.from_regex(r"https://[\[\]0-9a-f:.%@/?#]*"),
    ),
    st.booleans(),
)
def test_whatever_is_given_is_taken_or_refused(url: str, private: bool) -> None:
    with contextlib.suppress(AddressRefusedError):
        read_address(url, private=private)
