"""Synthetic audit events, as mixed traffic leaves them: who asks what for which people."""

import hashlib
import random
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Final

from vault_service.adapters.policy_files import PolicyBundle, load_bundle
from vault_service.domain.events import AuditEvent, EventGroup, new_event_id

_POLICIES: Final = Path(__file__).parents[1] / "policies"
# Who does what with which class, in which form and why; budgets run down as they are used.
_KINDS: Final = (
    ("checkout", "tokenize", "pan", None, None, "capture-tokenizes-its-clearance"),
    ("crm", "tokenize", "email", None, None, "capture-tokenizes-its-clearance"),
    ("warehouse-loader", "tokenize", "iban", None, None, "loader-tokenizes-all"),
    ("crm", "lookup", "email", None, None, "capture-looks-up-its-clearance"),
    ("chargeback-service", "detokenize", "pan", "plain", "chargeback", "disputes-reveal-pan"),
    ("payout-service", "detokenize", "iban", "plain", "payout", "payouts-reveal-iban"),
    (
        "support-agent",
        "detokenize",
        "email",
        "masked",
        "customer_support",
        "support-reveals-masked",
    ),
)
_COUNTS: Final = (1, 1, 1, 5)
MEAN_PEOPLE: Final = 13 / 7
"""People an event is about, on average: lookups are of one value."""
CLASSES: Final = ("pan", "email", "iban")


@cache
def sample_policies() -> PolicyBundle:
    """The policies that decided the events."""
    return load_bundle(_POLICIES, None)


def subject_of(person: int) -> str:
    """The subject id of a person, by number."""
    return f"cus_{person}"


def token_of(person: int, data_class: str) -> str:
    """The token of that class of a person, as wide as a real one."""
    name = f"{data_class}-{person}".encode()
    return f"tok_{data_class}_{hashlib.blake2b(name, digest_size=14).hexdigest()[:27]}"


class Traffic:
    """Events about ``people`` people, each with one token of each class; the same for the
    same ``seed``, but for their ids."""

    def __init__(self, bundle: PolicyBundle, people: int, seed: int) -> None:
        self._bundle = bundle
        self._people = range(people)
        self._source = random.Random(seed)  # synthetic data, not secrets
        self._left = dict.fromkeys(bundle.principals, 10**9)

    def event(self, number: int, at: datetime) -> AuditEvent:
        """The next event, which happened ``at`` that time."""
        source = self._source
        name, action, data_class, form, purpose, policy = source.choice(_KINDS)
        principal = self._bundle.principals[name]
        count = source.choice(_COUNTS) if action != "lookup" else 1
        budgeted = purpose is not None and bool(principal.budgets_for(purpose))
        people = source.sample(self._people, count)
        group = EventGroup(
            outcome="ok",
            data_class=data_class,
            form=form,
            tags=(("region", source.choice(("eu", "us"))),),
            policies=(policy,),
            budget_left=self._left[name] if budgeted else None,
            tokens=tuple([token_of(person, data_class) for person in people]),
            subjects=tuple([subject_of(person) for person in people]),
            count=count,
        )
        if budgeted:
            self._left[name] -= count
        return AuditEvent(
            id=new_event_id(),
            occurred_at=at,
            tenant=principal.tenant,
            principal=name,
            action=action,
            outcome="ok",
            request_id=f"req-{number}",
            policy_hash=self._bundle.hash,
            purpose=purpose,
            groups=(group,),
            item_count=count,
            inputs={"type": principal.type.value, "tags": dict(principal.tags)},
        )
