"""How the tests call a service over HTTP, each principal with its own credential."""

import json
from typing import Any

import httpx2


class Caller:
    """One principal's way to call a server: JSON in, an ``httpx2.Response`` out.

    ``credential`` is what follows ``Bearer``; ``None`` for a caller without one. The
    connection is kept open; where calls must spread over workers, use several callers.
    """

    def __init__(self, url: str, credential: str | None = None) -> None:
        headers = {} if credential is None else {"Authorization": f"Bearer {credential}"}
        self.credential = credential
        self.client = httpx2.Client(base_url=url, headers=headers, timeout=60.0)

    def get(self, path: str, **options: Any) -> httpx2.Response:
        return self.client.get(path, **options)

    def delete(self, path: str, **options: Any) -> httpx2.Response:
        return self.client.delete(path, **options)

    def post(self, path: str, body: object, **options: Any) -> httpx2.Response:
        """Post ``body`` as JSON; ``bytes`` go as they are, as JSON unless headers differ."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **options.pop("headers", {})}
        return self.client.post(path, content=content, headers=headers, **options)

    def tokenize(self, data_class: str, values: list[str], **fields: Any) -> list[str]:
        """The tokens of ``values``; ``fields`` (subject, tags, …) go into every item."""
        items = [{"data_class": data_class, "value": value, **fields} for value in values]
        answer = self.post("/v1/tokenize", {"items": items})
        assert answer.status_code == 200, answer.text
        return [item["token"] for item in answer.json()["items"]]

    def detokenize(
        self, tokens: list[str], purpose: str, form: str = "plain", **fields: Any
    ) -> httpx2.Response:
        items = [{"token": token, "form": form} for token in tokens]
        return self.post("/v1/detokenize", {"purpose": purpose, "items": items, **fields})

    def events(self, **filters: Any) -> list[dict[str, Any]]:
        """All audit events that match, newest first (``since`` and ``until`` stand for
        ``from`` and ``to``); for callers who may read them."""
        names = {"since": "from", "until": "to"}
        query = {names.get(name, name): str(value) for name, value in filters.items()}
        found: list[dict[str, Any]] = []
        while True:
            answer = self.get("/v1/audit/events", params=query)
            assert answer.status_code == 200, answer.text
            page = answer.json()
            found += page["events"]
            if page["next_cursor"] is None:
                return found
            query["cursor"] = page["next_cursor"]

    def close(self) -> None:
        self.client.close()
