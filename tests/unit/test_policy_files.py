"""The policy files load strictly: what is wrong is named, with its place and a mend."""

import hashlib
import shutil
from pathlib import Path

import pytest

from vault_service.adapters.policy_files import (
    bundle_hash,
    load_bundle,
    load_catalog,
    load_principals,
)
from vault_service.domain.catalog import Catalog, TokenFormat
from vault_service.domain.errors import ConfigurationError
from vault_service.domain.principals import Authentication, Budget, PrincipalType

POLICIES = Path(__file__).parents[2] / "policies"

PAN = "tags: [pci], validation: luhn, deterministic: true, token_format: opaque, forms: [masked]"
CATALOG = load_catalog(f"data_classes: {{pan: {{{PAN}}}}}\npurposes: {{payout: Pay}}".encode())


def catalog(body: str, name: str = "pan") -> Catalog:
    text = f"data_classes:\n  {name}: {{{body}}}\npurposes: {{payout: Pay out}}\n"
    return load_catalog(text.encode())


def test_the_catalog_example_of_the_contract_loads() -> None:
    loaded = load_catalog(
        b"""
data_classes:
  pan: {tags: [pci, restricted], validation: luhn, deterministic: true, token_format: opaque, \
forms: [masked, plain, bin, last4], retention_days: 730}
purposes: {chargeback: "Answer a card dispute"}
"""
    )
    pan = loaded.data_class("pan")
    assert pan.tags == {"pci", "restricted"}
    assert pan.forms == ("masked", "plain", "bin", "last4")
    assert pan.token_format is TokenFormat.OPAQUE
    assert (pan.deterministic, pan.mask, pan.retention_days) == (True, "card", 730)
    assert loaded.purposes == {"chargeback": "Answer a card dispute"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (PAN + ", colour: red", r"data_classes\.pan\.colour: unknown key; known keys are tags"),
        (PAN + ", tags: [pii]", "line 2: the key 'tags' is given twice"),
        (PAN.replace("luhn", "lunh"), r"pan\.validation: unknown value 'lunh'; use one of"),
        (PAN.replace("[pci]", "[secret]"), r"pan\.tags: names no sensitivity domain; add pci"),
        (PAN.replace("[pci]", "pci"), r"pan\.tags: not a list"),
        (PAN.replace("[pci]", "[pci, pci]"), r"pan\.tags: an entry is given twice"),
        (PAN.replace("[masked]", "[plain]"), r"pan\.forms: masked is missing"),
        (PAN.replace("[masked]", "[masked, domain]"), r"pan\.forms: unknown value 'domain'"),
        (PAN.replace("true", "yes please"), r"pan\.deterministic: not true or false"),
        (PAN.replace("opaque", "hex"), r"pan\.token_format: unknown value 'hex'"),
        (PAN.replace("luhn", "email").replace("opaque", "digits"), r"token_format: digits need"),
        (PAN.replace(", token_format: opaque", ""), r"pan\.token_format: missing; add it"),
        (PAN + ", retention_days: 0", r"pan\.retention_days: out of range; use 1 to"),
        (PAN + ", retention_days: true", r"pan\.retention_days: not a whole number"),
        (PAN + ", mask: none", r"pan\.mask: unknown value"),
    ],
)
def test_a_wrong_data_class_is_refused_by_name(body: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=r"catalog\.yml: .*" + message):
        catalog(body)


@pytest.mark.parametrize("name", ["cvv", "card_cvc2", "track2", "pin_block"])
def test_sensitive_authentication_data_cannot_be_a_class(name: str) -> None:
    # PCI-DSS 3.3.1
    with pytest.raises(ConfigurationError, match=f"{name}: sensitive authentication data"):
        catalog(PAN, name)


@pytest.mark.parametrize("name", ["Pan", "4pan", "a-b", "x" * 41])
def test_a_class_name_fits_into_a_token(name: str) -> None:
    with pytest.raises(ConfigurationError, match="a wrong class name"):
        catalog(PAN, name)


def test_digit_tokens_are_for_digit_classes() -> None:
    loaded = catalog(PAN.replace("opaque", "digits"))
    assert loaded.data_class("pan").token_format is TokenFormat.DIGITS


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a mapping"),
        (b"- a\n", "not a mapping"),
        (b"\xff\xfe", "not UTF-8"),
        (b"a: [", "line 1: expected"),
        (b"purposes: {a: 2026-99-99}\n", "not valid YAML"),
        (b"a: !!python/object/apply:os.system [ls]\n", "catalog.yml"),
        (b"no: 1\n", "line 1: a key is not text"),
        (b"purposes: {Big: x}\ndata_classes: {}\n", "purposes.Big: a wrong name"),
        (b"purposes: {p: 1}\ndata_classes: {}\n", "purposes.p: not text"),
        (b"purposes: []\ndata_classes: {}\n", "purposes: not a mapping"),
        (b"purposes: {}\ndata_classes: {a: 1}\n", r"data_classes\.a: not a mapping"),
        (b"purposes: {}\ndata_classes: {}\nmore: 1\n", "more: unknown key"),
        (b"&a [*a]\n", "catalog.yml"),
    ],
)
def test_a_file_that_is_no_catalog_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_catalog(content)


ONE = "name: shop, type: service, tenant: main"


def principals(*entries: str, top: str = "tags: {team: [payments]}") -> str:
    lines = "".join(f"  - {{{entry}}}\n" for entry in entries)
    return f"{top}\nprincipals:\n{lines}"


def test_the_principal_example_of_the_contract_loads() -> None:
    text = """
tags: {team: [payments], clearance: [pci]}
principals:
  - name: chargeback-service
    type: service
    tenant: main
    tags: {team: payments, clearance: pci}
    authentication: {api_key: {max_age_days: 90}, \
aws_role_arn: "arn:aws:iam::111122223333:role/chargeback", oidc_subject: "chargeback"}
    budgets: [{purpose: payout, tokens_per_hour: 1000, subjects_per_day: 500}]
"""
    loaded, vocabulary = load_principals(text.encode(), CATALOG)
    principal = loaded["chargeback-service"]
    assert principal.type is PrincipalType.SERVICE
    assert principal.tenant == "main"
    assert principal.tags == {"team": "payments", "clearance": "pci"}
    assert principal.environments == {"dev", "test", "prod"}
    assert principal.budgets == (
        Budget(purpose="payout", tokens_per_hour=1000, subjects_per_day=500),
    )
    assert principal.authentication == Authentication(
        90, "chargeback", "arn:aws:iam::111122223333:role/chargeback"
    )
    assert vocabulary["clearance"] == {"pci"}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([ONE + ", admin: true"], r"principals\[0\]\.admin: unknown key; known keys are name"),
        ([ONE, ONE], r"principals\[1\]\.name: given twice"),
        ([ONE.replace("shop", "Shop")], r"principals\[0\]\.name: 'Shop' has the wrong shape"),
        ([ONE.replace("shop", "'job:x'")], "jobs, and only jobs"),
        ([ONE.replace("service", "job")], "jobs, and only jobs"),
        ([ONE.replace("service", "robot")], "unknown value 'robot'"),
        (["name: shop, type: service"], r"principals\[0\]\.tenant: missing"),
        (["name: shop, type: service, tenant: all"], "what exports of every tenant say"),
        ([ONE + ", tags: {team: paymnets}"], r"tags\.team: 'paymnets' is not declared"),
        ([ONE + ", tags: {rank: high}"], r"tags\.rank: 'high' is not declared"),
        ([ONE + ", tags: {team: no}"], r"tags\.team: not text"),
        ([ONE + ", budgets: [{purpose: payout}]"], r"budgets\[0\]: a budget without a limit"),
        (
            [ONE + ", budgets: [{purpose: fun, tokens_per_hour: 1}]"],
            r"budgets\[0\]\.purpose: unknown value 'fun'; use one of payout",
        ),
        ([ONE + ", budgets: [{tokens_per_hour: 0}]"], r"tokens_per_hour: out of range"),
        ([ONE + ", budgets: [{tokens_per_week: 1}]"], "a budget without a limit"),
        ([ONE + ", budgets: {tokens_per_hour: 1}"], "budgets: not a list"),
        (
            [ONE + ", authentication: {api_key: {max_age_days: 91}}"],
            r"authentication\.api_key\.max_age_days: out of range; use 1 to 90",
        ),
        ([ONE + ", authentication: {password: x}"], r"authentication\.password: unknown key"),
        ([ONE + ", authentication: {aws_role_arn: x}"], "aws_role_arn: 'x' has the wrong shape"),
        ([ONE + ", environments: [dev, live]"], r"environments: unknown value 'live'"),
        (
            [
                ONE + ", authentication: {oidc_subject: s}",
                ONE.replace("shop", "two") + ", authentication: {oidc_subject: s}",
            ],
            r"principals\[1\]\.authentication: an identity of another principal",
        ),
    ],
)
def test_a_wrong_principal_is_refused_by_name(entries: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=r"principals\.yml: .*" + message):
        load_principals(principals(*entries).encode(), CATALOG)


def test_a_principal_is_loaded_in_its_environments_alone(tmp_path: Path) -> None:
    directory = copy_of_policies(tmp_path)
    text = principals(ONE + ", environments: [test]", ONE.replace("shop", "everywhere"))
    (directory / "principals.yml").write_text(text)
    assert load_bundle(directory, "prod").left_out == ("shop",)
    assert set(load_bundle(directory, "prod").principals) == {"everywhere"}
    assert set(load_bundle(directory, "test").principals) == {"shop", "everywhere"}
    assert set(load_bundle(directory, None).principals) == {"shop", "everywhere"}
    with pytest.raises(ConfigurationError, match="STRONGROOM_ENV is unknown"):
        load_bundle(directory, "staging")


def copy_of_policies(tmp_path: Path) -> Path:
    return Path(shutil.copytree(POLICIES, tmp_path / "policies"))


def test_the_bundle_hash_covers_every_deciding_file(tmp_path: Path) -> None:
    directory = copy_of_policies(tmp_path)
    original = load_bundle(directory, None).hash
    assert original == load_bundle(POLICIES, None).hash
    for path in sorted(directory.iterdir()):
        if path.is_file():
            kept = path.read_bytes()
            path.write_bytes(kept + b"\n")
            assert load_bundle(directory, None).hash != original, path.name
            path.write_bytes(kept)
    (directory / "zz.cedar").write_text("")
    assert load_bundle(directory, None).hash != original


def test_the_bundle_hash_is_the_documented_one() -> None:
    def led(part: bytes) -> bytes:
        return len(part).to_bytes(8, "big") + part

    expected = hashlib.sha256(led(b"a") + led(b"1") + led(b"b") + led(b"")).hexdigest()
    assert bundle_hash({"b": b"", "a": b"1"}) == expected
    assert bundle_hash({"a": b"bc"}) != bundle_hash({"ab": b"c"})


@pytest.mark.parametrize("name", ["catalog.yml", "principals.yml", "schema.cedarschema"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    directory = copy_of_policies(tmp_path)
    (directory / name).unlink()
    with pytest.raises(ConfigurationError, match=f"{name}: cannot be read"):
        load_bundle(directory, None)


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="STRONGROOM_POLICY_DIR"):
        load_bundle(tmp_path / "nowhere", None)
