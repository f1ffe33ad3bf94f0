"""Settings: what they mean, and what production refuses one by one (PCI-DSS 2.2.2)."""

from pathlib import Path

import pytest

from vault_service.domain.catalog import Domain
from vault_service.domain.errors import ConfigurationError
from vault_service.settings import load

KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
SAFE = {
    "STRONGROOM_ENV": "prod",
    "STRONGROOM_DATABASE_URL": (
        "postgresql://vault:k2Jd9s0aPq@db.internal/strongroom?sslmode=verify-full"
    ),
    "STRONGROOM_KMS_KEY_ARN": KEY,
    "STRONGROOM_AUDIT_SIGNING_KEY_ARN": KEY,
}


def test_nothing_set_is_the_embedded_default() -> None:
    settings = load({})
    assert settings.environment == "dev"
    assert settings.embedded
    assert settings.home == Path(".strongroom").absolute()
    assert settings.policy_dir == Path("policies").absolute()
    assert settings.docs
    assert not settings.kms_key_arns


def test_safe_production_settings_are_taken() -> None:
    settings = load(SAFE)
    assert settings.kms_key_arns == {Domain.PCI: KEY, Domain.PII: KEY}
    assert not settings.docs
    assert not settings.embedded


@pytest.mark.parametrize(
    ("change", "mend"),
    [
        ({"STRONGROOM_DATABASE_URL": ""}, "set STRONGROOM_DATABASE_URL"),
        (
            {"STRONGROOM_DATABASE_URL": "postgresql://vault:k2Jd9s0aPq@db.internal/s"},
            "sslmode=verify-full",
        ),
        (
            {"STRONGROOM_DATABASE_URL": "postgresql://vault:k2Jd9s0aPq@db/s?sslmode=require"},
            "sslmode=verify-full",
        ),
        (
            {"STRONGROOM_DATABASE_URL": "postgresql://postgres:x9@db/s?sslmode=verify-full"},
            "default database credentials",
        ),
        (
            {"STRONGROOM_DATABASE_URL": "postgresql://vault:password@db/s?sslmode=verify-full"},
            "default database credentials",
        ),
        ({"STRONGROOM_KMS_KEY_ARN": ""}, "STRONGROOM_KMS_KEY_ARN_PCI"),
        ({"STRONGROOM_AUDIT_SIGNING_KEY_ARN": ""}, "set STRONGROOM_AUDIT_SIGNING_KEY_ARN"),
        ({"STRONGROOM_DOCS": "on"}, "unset STRONGROOM_DOCS"),
        ({"STRONGROOM_STS_TEST_ENDPOINT": "http://127.0.0.1:1"}, "STS_TEST_ENDPOINT"),
        ({"STRONGROOM_OIDC_JWKS_URL": "http://issuer/jwks"}, "use https://"),
    ],
)
def test_production_refuses_what_is_unsafe_and_says_how_to_mend_it(
    change: dict[str, str], mend: str
) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        load(SAFE | change)
    text = str(refusal.value)
    assert mend in text
    assert text.count("\n- ") == 1
    assert "k2Jd9s0aPq" not in text


def test_production_names_every_unsafe_setting_at_once() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        load({"STRONGROOM_ENV": "prod", "STRONGROOM_DOCS": "1"})
    assert str(refusal.value).count("\n- ") == 4


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STRONGROOM_ENV", "production"),
        ("STRONGROOM_PORT", "eighty"),
        ("STRONGROOM_PORT", "70000"),
        ("STRONGROOM_WORKERS", "0"),
        ("STRONGROOM_DOCS", "perhaps"),
        ("STRONGROOM_DATABASE_URL", "mysql://db/strongroom"),
        ("STRONGROOM_KMS_KEY_ARN_PCI", KEY),
    ],
)
def test_an_unusable_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        load({name: value})
    assert name in str(refusal.value)


def test_a_key_for_each_domain_beats_the_one_for_both() -> None:
    settings = load({"STRONGROOM_KMS_KEY_ARN": KEY, "STRONGROOM_KMS_KEY_ARN_PCI": KEY + "0"})
    assert settings.kms_key_arns == {Domain.PCI: KEY + "0", Domain.PII: KEY}


def test_settings_do_not_show_the_database_password() -> None:
    assert "k2Jd9s0aPq" not in repr(load(SAFE))
