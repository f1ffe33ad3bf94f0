"""HTTP/1.1 as uvicorn speaks it, with a limit on the head of a request, and a farewell.

uvicorn with httptools takes headers of any size and number, and parses them before
anybody is authenticated; a few connections could fill the memory. RFC 6585 5.
"""

from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from vault_service.draining import STATE, Drain

MAX_HEAD: Final = 64 * 1024
"""Bytes of request line and headers; the longest credential takes 12 KiB of them."""
_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)


class BoundedProtocol(HttpToolsProtocol):
    """Ends a connection whose request head does not end within :data:`MAX_HEAD`. While the
    process drains, each answer says that its connection ends (RFC 9112 9.6): closed later,
    while it lies idle, it could meet the client's next request half-way."""

    _head = 0
    _in_head = True

    def on_message_begin(self) -> None:
        """A request begins, and with it its head."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is over."""
        self._in_head = False
        self._head = 0
        super().on_headers_complete()
        drain: Drain | None = self.app_state.get(STATE)
        if drain is not None and drain.begun:
            self.cycle.keep_alive = False

    def data_received(self, data: bytes) -> None:
        """Take what arrived; what is not yet a whole head counts towards the limit."""
        super().data_received(data)
        if self._in_head:
            self._head += len(data)
            if self._head > MAX_HEAD and not self.transport.is_closing():
                self.transport.write(_TOO_LARGE)
                self.transport.close()
