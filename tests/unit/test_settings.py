"""Settings: what they mean. What production refuses is in tests/production."""

from pathlib import Path

import pytest

from vault_service.domain.catalog import Domain
from vault_service.domain.errors import ConfigurationError
from vault_service.settings import load

KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
URLS = ("STRONGROOM_DATABASE_URL", "STRONGROOM_SEALER_DATABASE_URL")
SAFE = {
    "STRONGROOM_ENV": "prod",
    "STRONGROOM_DATABASE_URL": (
        "postgresql://vault@db.internal/strongroom?sslmode=verify-full&sslrootcert=system"
    ),
    "STRONGROOM_DATABASE_PASSWORD_FROM": "iam",
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
    ("name", "value"),
    [
        ("STRONGROOM_ENV", "production"),
        ("STRONGROOM_PORT", "eighty"),
        ("STRONGROOM_PORT", "70000"),
        ("STRONGROOM_WORKERS", "0"),
        ("STRONGROOM_DOCS", "perhaps"),
        ("STRONGROOM_DATABASE_URL", "mysql://db/strongroom"),
        ("STRONGROOM_KMS_KEY_ARN_PCI", KEY),
        ("STRONGROOM_SEALER_DATABASE_URL", "mysql://db/strongroom"),
        ("STRONGROOM_DATABASE_PASSWORD_FROM", "k2Jd9s0aPq"),
        ("STRONGROOM_SEALER_DATABASE_PASSWORD_FROM", "k2Jd9s0aPq"),
        ("STRONGROOM_DRAIN_SECONDS", "soon"),
        ("STRONGROOM_TLS_KEY", "/etc/vault/tls.key"),
    ],
)
def test_an_unusable_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        load({name: value})
    assert name in str(refusal.value)
    assert "k2Jd9s0aPq" not in str(refusal.value)


def test_a_key_for_each_domain_beats_the_one_for_both() -> None:
    settings = load({"STRONGROOM_KMS_KEY_ARN": KEY, "STRONGROOM_KMS_KEY_ARN_PCI": KEY + "0"})
    assert settings.kms_key_arns == {Domain.PCI: KEY + "0", Domain.PII: KEY}


def test_settings_do_not_show_the_database_password() -> None:
    given = dict.fromkeys(URLS, "postgresql://vault:k2Jd9s0aPq@db/s")
    assert "k2Jd9s0aPq" not in repr(load(given))


def test_production_drains_before_it_ends_and_development_does_not() -> None:
    assert load(SAFE).drain_seconds == 15
    assert load({}).drain_seconds == 0
    assert load(SAFE | {"STRONGROOM_DRAIN_SECONDS": "0"}).drain_seconds == 0


def test_a_command_on_the_database_alone_needs_no_keys() -> None:
    names = ("STRONGROOM_KMS_KEY_ARN", "STRONGROOM_AUDIT_SIGNING_KEY_ARN")
    settings = {name: value for name, value in SAFE.items() if name not in names}
    assert load(settings, database_alone=True).database_password_from == "iam"
    with pytest.raises(ConfigurationError):
        load(settings)
    with pytest.raises(ConfigurationError):
        load(settings | {"STRONGROOM_DATABASE_PASSWORD_FROM": ""}, database_alone=True)
