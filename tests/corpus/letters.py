"""Letters of every kind: what can be stored comes back as it was, and the rest is refused by name."""

from __future__ import annotations

from typing import Any

from tests.corpus.case import Case

KEPT = [
    "ordinary",
    "",
    " ",
    "\t\n\r",
    "línea\r\nnueva",
    "красный круг",
    "红色的圆",
    "赤い丸",
    "빨간 원",
    "دائرة حمراء",
    "עיגול אדום",
    "लाल वृत्त",
    "🎈",
    "👩‍👩‍👧‍👦",
    "🏳️‍🌈",
    "e\u0301 and é",
    "z" + "\u0300" * 200,
    "\u200b\u200c\u200d\ufeff",
    "\u202egnp.exe\u202c",
    "\u2066isolated\u2069",
    "\u0001\u001f\u007f\u0080\u009f",
    "\ufffe\uffff",
    "\U0010ffff",
    "\ue000\uf8ff",
    "\u2028\u2029",
    "ﬁ ﬂ Ⅷ ㍿",
    "İıſẞß",
    "'; DROP TABLE jobs; --",
    "${jndi:ldap://127.0.0.1/x}",
    "{{7*7}} %s %n <script>alert(1)</script>",
    "../../etc/passwd",
    "\\\\server\\share",
    "\\u0000 \\x00",
    "a" * 8192,
    "🙂" * 500,
]
NUL = ["\0", "a\0", "\0a", "a\0b"]
HALVES = [r'"\ud800"', r'"\udfff"', r'"a\ud83d"', r'"\ude00\ud83d"', r'"\uD800\u0041"']
TEXTS = ("prompt", "prompt_2", "negative_prompt", "negative_prompt_2")


def cases() -> list[Case]:
    """All of them."""
    found = []
    for text in KEPT:
        fields: dict[str, Any] = {"prompt": text, "negative_prompt": text, "metadata": {"k": text[:512]}}
        found.append(Case("letters", 202, body=fields | {"lane": "bulk"}, echo=fields))
        if 1 <= len(text) <= 64:
            kept = {"metadata": {text: "v"}}
            found.append(Case("letters", 202, body={"prompt": "a", "lane": "bulk"} | kept, echo=kept))
    for name in TEXTS:
        found += [Case("letters", 422, "invalid", name, body={"prompt": "a", name: text}) for text in NUL]
        found += [
            Case("letters", 422, "invalid", name, raw=f'{{"{name}": {half}}}'.encode(), headers=JSON)
            for half in HALVES
        ]
    for text in NUL:
        found.append(
            Case("letters", 422, "invalid", "metadata", body={"prompt": "a", "metadata": {"k": text}})
        )
        found.append(
            Case("letters", 422, "invalid", "metadata", body={"prompt": "a", "metadata": {text: "v"}})
        )
        found.append(Case("letters", 422, "invalid", "model", body={"prompt": "a", "model": text}))
        found.append(Case("letters", 422, "invalid", "sampler", body={"prompt": "a", "sampler": text}))
        found.append(Case("letters", 422, "invalid", "image", body={"prompt": "a", "image": text}))
        found.append(Case("letters", 422, "invalid", "body", body={"prompt": "a", text: 1}))
    return found


JSON = ((b"Content-Type", b"application/json"),)
