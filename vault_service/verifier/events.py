"""Each event of a bundle against the hash that was sealed for it."""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from vault_service.domain import bundle
from vault_service.verifier import told
from vault_service.verifier.findings import Findings, Kind, printable
from vault_service.verifier.seen import SeenIds
from vault_service.verifier.told import EventUnreadable

SEALED_WITHIN = timedelta(minutes=5)
"""A sealer that runs has every event in the tree sooner; later, operators are alarmed. Requests
are answered sooner too, so that events are not more out of order than this."""

_sha256 = hashlib.sha256


@dataclass(slots=True)
class Stretch:
    """How many leaves, and from which to which."""

    count: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Backdated:
    """Sealed events that are more than 5 minutes older than one sealed before them, and the
    id of the first."""

    event_id: str
    leaves: Stretch


@dataclass(frozen=True, slots=True)
class _Altered:
    place: int
    leaf: int
    sealed: bytes
    found: bytes


class EventCheck:
    """Checks events one by one, and counts them. ``earliest`` and ``latest`` are the times
    (UTC) of sealed events that are what was sealed."""

    def __init__(self, scope: str, findings: Findings) -> None:
        self._tenant = None if scope == bundle.WHOLE_LOG else scope
        self._findings = findings
        self._ids = SeenIds()
        self._altered: list[_Altered] = []
        self._missing: dict[bytes, tuple[int, int]] = {}
        self.events = 0
        self.unsealed = 0
        self.withheld: dict[str, Stretch] = {}
        self.earliest: datetime | None = None
        self.latest: datetime | None = None
        self.backdated: Backdated | None = None

    def shown(self, event: bundle.Event, line: int) -> None:
        """A leaf's event."""
        self.events += 1
        found = _sha256(b"\x00" + event.body).digest()  # RFC 6962 2.1
        if found != event.hash:
            self._note_altered(event, found, line)
            return
        try:
            said = told.read(event.body)
        except EventUnreadable:
            self._findings.add(
                Kind.EVENT_UNREADABLE,
                f"Leaf {event.leaf} was sealed as it is, but is no event of a known encoding.",
                leaf=event.leaf,
                line=line,
            )
            return
        self._note_time(said, event.leaf)
        if self._tenant is not None and said.tenant != self._tenant:
            self._out_of_scope(said.id, event.leaf, line)
        if not self._ids.add(said.id):
            self._findings.add(
                Kind.EVENT_REPEATED,
                f"Leaf {event.leaf} has the id of an event before it: {said.id}.",
                leaf=event.leaf,
                event_id=said.id,
                line=line,
            )

    def withheld_leaf(self, leaf: bundle.Withheld, line: int) -> None:
        """A leaf without its event."""
        stretch = self.withheld.get(leaf.why)
        if stretch is None:
            self.withheld[leaf.why] = Stretch(1, leaf.leaf, leaf.leaf)
        else:
            stretch.count += 1
            stretch.last = leaf.leaf
        if leaf.why == "missing":
            place = self._findings.add(
                Kind.EVENT_MISSING,
                f"The event of leaf {leaf.leaf} was sealed, and is not in the database any more.",
                leaf=leaf.leaf,
                line=line,
            )
            if place is not None:
                self._missing[leaf.hash] = leaf.leaf, place
        elif leaf.why == "tenant" and self._tenant is None:
            self._findings.add(
                Kind.EVENT_HIDDEN,
                f"The event of leaf {leaf.leaf} is withheld as another tenant's, in a bundle of"
                " all tenants.",
                leaf=leaf.leaf,
                line=line,
            )

    def unsealed_event(self, event: bundle.Unsealed, line: int) -> None:
        """An event in no leaf, after all leaves."""
        self.unsealed += 1
        try:
            said = told.read_canonical(event.body)
        except EventUnreadable:
            self._findings.add(
                Kind.EVENT_UNREADABLE, "What is in no leaf is no event either.", line=line
            )
            return
        if self._tenant is not None and said.tenant != self._tenant:
            self._out_of_scope(said.id, None, line)
        if self._found_again(event.body, said.id):
            return
        if not self._ids.add(said.id):
            self._findings.add(
                Kind.EVENT_REPEATED,
                f"An event outside the tree has the id of an event before it: {said.id}.",
                event_id=said.id,
                line=line,
            )
        elif self.latest is not None and said.time < self.latest - SEALED_WITHIN:
            self._findings.add(
                Kind.EVENT_OUTSIDE,
                f"Event {said.id} is outside the tree, although later ones were sealed: it was"
                " put into the database afterwards, or kept from the tree.",
                event_id=said.id,
                line=line,
            )

    def finish(self) -> None:
        """Every line was read: tell events that changed places from those that changed."""
        sealed_as = {each.sealed: each.leaf for each in self._altered}
        for each in self._altered:
            leaf = sealed_as.get(each.found)
            if leaf is not None:
                self._findings.kept[each.place] = replace(
                    self._findings.kept[each.place],
                    kind=Kind.EVENT_MOVED,
                    text=f"Leaf {each.leaf} holds the event that was sealed as leaf {leaf}: events"
                    " changed places.",
                )

    def _found_again(self, body: bytes, event_id: str) -> bool:
        """Whether an event outside the tree is that of a leaf whose event is missing."""
        if not self._missing:
            return False
        leaf, place = self._missing.pop(_sha256(b"\x00" + body).digest(), (0, None))
        if place is None:
            return False
        self._findings.kept[place] = replace(
            self._findings.kept[place],
            kind=Kind.EVENT_MOVED,
            text=f"The event of leaf {leaf}, {event_id}, stands elsewhere in the database than"
            " where it was sealed.",
            event_id=event_id,
        )
        return True

    def _note_time(self, said: told.Known, leaf: int) -> None:
        """A sealed event's time, which is about in order: a sealer that was away for hours
        still takes events as they were committed."""
        time = said.time
        if self.latest is None or self.earliest is None:
            self.earliest = self.latest = time
        elif time > self.latest:
            self.latest = time
        elif time < self.latest - SEALED_WITHIN:
            if self.backdated is None:
                self.backdated = Backdated(said.id, Stretch(1, leaf, leaf))
            else:
                self.backdated.leaves.count += 1
                self.backdated.leaves.last = leaf
        self.earliest = min(self.earliest, time)

    def _note_altered(self, event: bundle.Event, found: bytes, line: int) -> None:
        try:
            event_id = told.read(event.body).id
        except EventUnreadable:
            event_id = None
        named = "" if event_id is None else f", which now calls itself {printable(event_id)},"
        place = self._findings.add(
            Kind.EVENT_ALTERED,
            f"The event of leaf {event.leaf}{named} is not what was sealed.",
            leaf=event.leaf,
            event_id=event_id,
            line=line,
        )
        if place is not None:
            self._altered.append(_Altered(place, event.leaf, event.hash, found))

    def _out_of_scope(self, event_id: str, leaf: int | None, line: int) -> None:
        self._findings.add(
            Kind.SCOPE_DIFFERS,
            "An event is of another tenant than the header names.",
            leaf=leaf,
            event_id=event_id,
            line=line,
        )
