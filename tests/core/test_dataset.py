"""What a dataset may be, and which addresses are asked for one."""

import time

import pytest

from fetchml.core.addresses import AddressRules, literal_address
from fetchml.core.model import DatasetSpec
from fetchml.core.requests.dataset import SCHEMES, fault, read


@pytest.mark.parametrize(
    ("spec", "file"),
    [
        (DatasetSpec(source="https://h/a/rows.csv?x=/y.z#part"), "/data/rows.csv/rows.csv"),
        (DatasetSpec(name="d", source="https://h/a/rows%20b.csv"), "/data/d/rows b.csv"),
        (DatasetSpec(name="d", source="https://h"), "/data/d/d"),
        (DatasetSpec(name="d", source="https://h/a/%2e%2e"), "/data/d/d"),
        (DatasetSpec(name="d", source="https://h/a%2Fb", mount_path="/mnt/x"), "/mnt/x/b"),
        (DatasetSpec(name="d"), "/data/d/d"),
        (DatasetSpec(name="d", source="sub/rows"), "/data/d/rows"),
        (DatasetSpec(source="s3://bucket/key/rows.csv"), "/data/rows.csv/rows.csv"),
    ],
)
def test_mount_path_of_a_dataset(spec: DatasetSpec, file: str) -> None:
    assert read(spec).file == file


@pytest.mark.parametrize(
    ("specs", "names", "said"),
    [
        ([DatasetSpec()], [], "item 0 needs a name or a source"),
        ([DatasetSpec(source="https://h/")], [], "item 0 needs a name: its source ends in none"),
        ([DatasetSpec(source="https://h/.x")], [], "item 0 needs a name: its source ends in none"),
        ([DatasetSpec(name="a", source="ftp://h/x")], [], "scheme that the server allows: file,"),
        ([DatasetSpec(name="a", source="https:///x")], [], "item 0 source must name a host"),
        ([DatasetSpec(name="a", source="http://h:x/")], [], "item 0 source must be a URL"),
        ([DatasetSpec(name="a", source="http://h/ x")], [], "item 0 source must hold no spaces"),
        ([DatasetSpec(name="a", source="http://u:p@h/x")], [], "must hold no user and password"),
        ([DatasetSpec(name="a", source="file://h/x")], [], "must be file:/// and an absolute path"),
        ([DatasetSpec(name="a", source="a\nb")], [], "must hold printable characters only"),
        ([DatasetSpec(name="a")] * 2, [], "item 1 lies at /data/a, where item 0 is"),
        ([DatasetSpec(name="a")], ["a"], "item 0 lies at /data/a, where dataset 'a' is"),
        (
            [DatasetSpec(name="a", source="http://h/x")],
            ["a"],
            "item 0 lies at /data/a/x, where dataset 'a' is",
        ),
        (
            [DatasetSpec(name="a", mount_path="/m/x"), DatasetSpec(name="b", mount_path="/m")],
            [],
            "item 1 lies at /m, where item 0 is",
        ),
    ],
)
def test_invalid_dataset_specs_are_rejected(
    specs: list[DatasetSpec], names: list[str], said: str
) -> None:
    assert said in (fault(specs, names, SCHEMES, AddressRules()) or "")


def test_many_mount_paths_are_compared_quickly() -> None:
    """It is done while everybody else waits."""
    specs = [DatasetSpec(name=f"a{n}", source=f"http://h/{n}") for n in range(10_000)]
    deep = [DatasetSpec(name="a", mount_path="/m" + "/x" * 2000 + f"/{n}") for n in range(60)]
    begun = time.process_time()
    assert fault(specs + deep, [f"b{n}" for n in range(10_000)], SCHEMES, AddressRules()) is None
    assert time.process_time() - begun < 5, "each with each takes a minute"


def test_several_datasets_may_share_a_folder() -> None:
    specs = [DatasetSpec(name="a", source=f"http://h/{file}") for file in ("x", "y", "xy")]
    assert fault(specs, ["b"], SCHEMES, AddressRules()) is None


@pytest.mark.parametrize(
    ("address", "open_", "private"),
    [
        ("93.184.215.14", True, True),
        ("2606:2800:21f::1", True, True),
        ("10.1.2.3", False, True),
        ("127.0.0.1", False, True),
        ("::1", False, True),
        ("fd00::1", False, True),
        ("100.64.0.1", False, True),
        ("::ffff:10.0.0.1", False, True),
        ("64:ff9b::a00:1", False, True),
        ("2002:a00:1::", False, True),
        ("64:ff9b::5db8:d70e", True, True),
        ("169.254.169.254", False, False),
        ("::ffff:169.254.169.254", False, False),
        ("fe80::1%eth0", False, False),
        ("0.0.0.0", False, False),
        ("::", False, False),
        ("224.0.0.1", False, False),
        ("ff02::1", False, False),
        ("255.255.255.255", False, False),
        ("fec0::1", False, True),
        ("192.0.0.10", False, True),
        ("fd00:ec2::254", False, False),
        ("fd20:ce::254", False, False),
        ("100.100.100.200", False, False),
        ("192.0.0.192", False, False),
        ("168.63.129.16", False, False),
        ("::ffff:168.63.129.16", False, False),
    ],
)
def test_allowed_addresses_by_range(address: str, open_: bool, private: bool) -> None:
    assert AddressRules().allow("h", address) is open_
    assert AddressRules(allow_private=True).allow("h", address) is private
    assert AddressRules(allow_hosts=frozenset({"h"})).allow("H.", address)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0xA9FEA9FE", "169.254.169.254"),
        ("10.1.258", "10.1.1.2"),
        ("::1", "::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("256.0.0.1", None),
        ("1.2.3.4.5", None),
        ("1.2.3.256", None),
        ("08.0.0.1", None),
        ("4294967296", None),
        ("h", None),
        ("10.example", None),
        ("", None),
    ],
)
def test_host_is_recognised_as_an_address(host: str, address: str | None) -> None:
    """In all forms that the C library takes for an address, without asking a name server."""
    assert literal_address(host) == address


@pytest.mark.parametrize(
    ("source", "private", "refused"),
    [
        ("http://10.0.0.1/d", False, True),
        ("http://10.0.0.1/d", True, False),
        ("https://[::1]:8443/d", False, True),
        ("https://[::ffff:10.0.0.1]/d", False, True),
        ("http://0xa9fea9fe/d", True, True),
        ("http://localhost/d", False, True),
        ("http://a.localhost./d", False, True),
        ("http://localhost/d", True, False),
        ("http://8.8.8.8/d", False, False),
        ("http://example.org/d", False, False),
        ("http://inside/d", False, False),
    ],
)
def test_literal_address_in_a_source_is_checked(source: str, private: bool, refused: bool) -> None:
    rules = AddressRules(private, frozenset({"inside"}))
    wrong = fault([DatasetSpec(source=source)], [], SCHEMES, rules)
    assert ("private or local address" in (wrong or "")) == refused
    by_name = AddressRules(allow_hosts=frozenset({"10.0.0.1", "localhost"}))
    if "10.0.0.1/" in source and "ffff" not in source:
        assert fault([DatasetSpec(source=source)], [], SCHEMES, by_name) is None
