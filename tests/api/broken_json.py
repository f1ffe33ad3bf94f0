"""Bodies that are no JSON, or JSON in which a key stands twice."""

import json
from typing import Final

from tests.api.hostile import CANARY, item

C: Final = CANARY.encode()
PAN: Final = b'"data_class":"pan"'


def raw(*parts: bytes) -> bytes:
    """A tokenize request: its value, then what follows the value and the items."""
    return b'{"items":[{"data_class":"pan","value":"%s"%s}]%s}' % (
        parts + (b"",) * (3 - len(parts))
    )


MALFORMED: Final = {
    "empty": b"",
    "blank": b"  \n",
    "cut off": b'{"items":[{"data_class":"pan","value":"%s' % C,
    "two documents": raw(C) + raw(C),
    "words": b"value=%s" % C,
    "single quotes": b"{'items':['%s']}" % C,
    "trailing comma": b'{"items":[{"data_class":"pan","value":"%s"},]}' % C,
    "comment": b"/* %s */{}" % C,
    "BOM": b"\xef\xbb\xbf" + raw(C),
    "UTF-16": json.dumps({"items": [item(value=CANARY)]}).encode("utf-16"),
    "invalid UTF-8 in a value": raw(C + b"\xff\xfe"),
    "invalid UTF-8 in a key": b'{"items":[],"%s\xff":1}' % C,
    "overlong UTF-8": raw(C + b"\xc0\xaf"),
    "raw surrogate": raw(C + b"\xed\xa0\x80"),
    "escaped lone surrogate": raw(C + b"\\ud800"),
    "surrogates the wrong way round": raw(C + b"\\udc00\\ud800"),
    "raw NUL in a value": raw(C + b"\x00"),
    "raw newline in a value": raw(C + b"\n"),
    "NUL after the end": raw(C) + b"\x00",
    "bad escape": raw(C + b"\\x41"),
    "cut escape": raw(C + b"\\u00"),
    "NaN": b'{"items":[{"data_class":"pan","value":"%s","expires_in":NaN}]}' % C,
    "Infinity": b'{"items":[{"data_class":"pan","value":"%s","expires_in":-Infinity}]}' % C,
    "leading zero": b'{"items":[{"data_class":"pan","value":"%s","expires_in":01}]}' % C,
    "hexadecimal": b'{"items":[{"data_class":"pan","value":"%s","expires_in":0x10}]}' % C,
}
DUPLICATES: Final = {
    "items": b'{"items":[{%s,"value":"1"}],"items":[{%s,"value":"%s"}]}' % (PAN, PAN, C),
    "mode": b'{"items":[{%s,"value":"%s"}],"mode":"partial","mode":"atomic"}' % (PAN, C),
    "data_class": b'{"items":[{%s,%s,"value":"%s"}]}' % (PAN, PAN, C),
    "value": b'{"items":[{%s,"value":"1","value":"%s"}]}' % (PAN, C),
    "value, far apart": b'{"items":[{"value":"1",%s,"reference":"r","value":"%s"}]}' % (PAN, C),
    "in the second item": b'{"items":[{%s,"value":"1"},{%s,"value":"1","value":"%s"}]}'
    % (PAN, PAN, C),
    "null twice": b'{"items":[{%s,"value":"%s","subject":null,"subject":null}]}' % (PAN, C),
    "null and text": b'{"items":[{%s,"value":"1","subject":null,"subject":"%s"}]}' % (PAN, C),
    "a tag": b'{"items":[{%s,"value":"1","tags":{"a":"b","a":"%s"}}]}' % (PAN, C),
    "space before the colon": b'{"items":[{%s,"value" :"1","value" :"%s"}]}' % (PAN, C),
    "tab before one colon": b'{"items":[{%s,"value"\t:"1","value":"%s"}]}' % (PAN, C),
    "line break before one": b'{"items":[{%s,"value":"1","value"\r\n:"%s"}]}' % (PAN, C),
    "escaped": b'{"items":[{%s,"value":"1","v\\u0061lue":"%s"}]}' % (PAN, C),
    "escaped in two ways": b'{"items":[{%s,"\\u0076alue":"1","v\\u0061lue":"%s"}]}' % (PAN, C),
    "escaped tags": b'{"items":[{%s,"value":"1","tags":{"\\u0061":"b","a":"%s"}}]}' % (PAN, C),
    "escaped and spaced": b'{"items":[{%s,"value":"1","v\\u0061lue" :"%s"}]}' % (PAN, C),
    "escaped solidus": b'{"items":[{%s,"value":"1","tags":{"a/":"b","a\\/":"%s"}}]}' % (PAN, C),
    "hidden by a colon in a value": b'{"items":[{%s,"value":"1","tags":{"a":"\\":","a":"%s"}}]}'
    % (PAN, C),
}
