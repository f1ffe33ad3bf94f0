"""Clients of AWS: where their credentials may come from."""

from pathlib import Path

import pytest

from vault_service.adapters.kms.aws import AwsKmsWrapper
from vault_service.adapters.kms.envelope import CONTEXT_KEYS
from vault_service.domain.errors import KeyUnavailable

ARN = "arn:aws:kms:eu-west-1:111122223333:key/00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize("defaults", ["legacy", "auto"])
async def test_the_metadata_address_is_never_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, metadata_address: list[object], defaults: str
) -> None:
    """Not even by a host without any credentials, nor for the region."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_DEFAULTS_MODE", defaults)
    before = len(metadata_address)
    wrapper = AwsKmsWrapper(ARN, endpoint_url="http://127.0.0.1:9", deadline=20.0)
    with pytest.raises(KeyUnavailable) as caught:
        await wrapper.wrap(bytes(32), dict.fromkeys(CONTEXT_KEYS, "x"))
    wrapper.close()
    assert caught.value.detail == "There are no AWS credentials."
    assert len(metadata_address) == before
