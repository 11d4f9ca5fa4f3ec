"""List messages and templates of names: what they select is what a few plain lines here select."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import msgspec
import pytest
import requests

from shoal_core.errors import InvalidArgument
from shoal_core.name_template import NAMES_MAX, RANGES_MAX, NameTemplate
from shoal_gateway.guard import LocalGuard
from support.asgi import Answer, Asking
from support.cluster import Cluster
from support.fuzzing import cases, text
from support.memory_gateway import application_of, memory_parts
from support.memory_store import MemoryObjectStore

pytestmark = pytest.mark.timeout(900)

MESSAGES, TEMPLATES, LIVE = 20_000, 30_000, 400
URL = "/v1/buckets/b"
NAMES = sorted(
    [f"folder/{number:02}" for number in range(12)]
    + [
        "a",
        "a/b/c",
        "a/b/d",
        "a.b",
        "A",
        "\u00e9/x",
        "\u4f60",
        "z//y",
        "/first",
        " ",
        "%",
        "folder",
        "\U0001f600/1",
    ],
    key=str.encode,
)
NAME_ONLY, NO_RECURSION, NO_FOLDERS = 1 << 4, 1 << 11, 1 << 13
KNOWN_FLAGS = (0, 1, 1 << 2, NAME_ONLY, 1 << 5, NO_RECURSION, NO_FOLDERS, 1 << 6, 1 << 10)
FOLDER_BIT = 1 << 8
JUNK: tuple[Any, ...] = (
    None, True, -1, 1.5, 1e300, 10**40, "", "x", "\0", "1_0", "\u0660", "-1", "9" * 5000, [], {}, [1], {"a": 1},
    "\u202e", "x" * 5000, "name,,size,none", 1 << 63, "2048 ",
)  # fmt: skip


def message_of(choices: random.Random) -> dict[str, Any]:
    flags = 0
    for _ in range(choices.choice((0, 1, 1, 2, 3))):
        flags |= choices.choice(KNOWN_FLAGS)
    some = [*NAMES, "fo", "folder/", "a/", "a/b", "zz", "", "\u00e9", "none"]
    return {
        "prefix": choices.choice(("", "", "", choices.choice(some))),
        "pagesize": choices.choice((0, 1, 2, 3, 7, len(NAMES), 10_000, 10**6)),
        "props": choices.choice(
            ("", "name", "name,size", "name,size,checksum,atime,version,custom,location")
        ),
        "flags": choices.choice((str(flags), flags)),
        "start_after": choices.choice(("", "", choices.choice(some))),
        "uuid": choices.choice(("", "abc")),
        "continuation_token": "",
        "target": "",
        "time_format": choices.choice(("", "", "2006-01-02T15:04:05.999Z07:00", "Jan _2 x")),
    }


def selected(message: dict[str, Any]) -> list[str]:
    """All that the pages together must name."""
    flags, prefix, after = int(message["flags"]), message["prefix"], message["start_after"]
    found: set[str] = set()
    for name in NAMES:
        folded = name
        if flags & NO_RECURSION and "/" in name[len(prefix) :]:
            folded = name[: name.index("/", len(prefix)) + 1]
            if flags & NO_FOLDERS:
                continue
        if name.startswith(prefix) and folded.encode() > after.encode():
            found.add(folded)
    return sorted(found, key=str.encode)


async def filled() -> Asking:
    ask = Asking(application_of(await memory_parts(MemoryObjectStore()), LocalGuard(port=51080)))
    for name in NAMES:
        path = "".join(f"%{byte:02X}" for byte in name.encode())
        assert (await ask("PUT", f"/v1/objects/b/{path}", body=name.encode())).status == 200
    return ask


async def page_of(ask: Asking, value: Any, *, packed: bool = True) -> Answer:
    headers = {"accept": "application/msgpack"} if packed else {}
    return await ask("GET", URL, headers=headers, json_body={"action": "list", "name": "", "value": value})


async def walked(ask: Asking, message: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries of all pages."""
    found: list[dict[str, Any]] = []
    for _ in range(len(NAMES) + 1):
        page = msgspec.msgpack.decode((await page_of(ask, message)).body)
        entries = page["Entries"]
        assert page["UUID"]
        assert len(entries) <= (message["pagesize"] or 10_000)
        found += entries
        token = page["ContinuationToken"]
        if not token:
            return found
        assert entries, "an empty page has no token"
        message = {**message, "continuation_token": token, "start_after": "", "uuid": page["UUID"]}
    raise AssertionError(f"the pages do not end: {message}")


async def test_lists_are_what_the_message_asks_for() -> None:
    ask = await filled()
    for choices in cases("list messages", MESSAGES // 2, seconds_max=90):
        message = message_of(choices)
        entries = await walked(ask, message)
        assert [entry["n"] for entry in entries] == selected(message), message
        folders = [entry["n"] for entry in entries if entry.get("f", 0) & FOLDER_BIT]
        assert folders == [name for name in selected(message) if name not in NAMES], message


async def test_messages_that_make_no_sense_are_refused_or_understood() -> None:
    ask = await filled()
    statuses: dict[int, int] = {}
    for choices in cases("senseless list messages", MESSAGES // 2, seconds_max=90):
        message = message_of(choices)
        for _ in range(choices.choice((1, 1, 2))):
            message[choices.choice([*message, "more"])] = choices.choice(JUNK)
        value: Any = choices.choice((message,) * 9 + (choices.choice(JUNK),))
        answer = await page_of(ask, value, packed=choices.random() < 0.5)
        statuses[answer.status] = statuses.get(answer.status, 0) + 1
        assert answer.status in (200, 400, 501), (value, answer.body)
        assert answer.status == 200 or answer.error["message"], value
    print(statuses)
    assert set(statuses) >= {200, 400}


def expanded(template: str) -> list[tuple[str, ...]] | None:
    """The choices that stand one behind the other; None where a brace is no range."""
    found: list[tuple[str, ...]] = []
    rest = template
    while rest:
        before, brace, after = rest.partition("{")
        if "}" in before:
            return None
        found.append((before,))
        if not brace:
            return found
        inside, closed, rest = after.partition("}")
        numbers = inside.split("..")
        if not closed or len(numbers) not in (2, 3) or not all(is_number(each) for each in numbers):
            return None
        first, last, step = int(numbers[0]), int(numbers[1]), int([*numbers, "1"][2])
        if step < 1 or first > last or (last - first) // step + 1 > NAMES_MAX:
            return None
        wide = any(each != "0" and each[0] == "0" for each in numbers[:2])
        width = max(map(len, numbers[:2])) if wide else 0
        steps = range(first, last + 1, step)
        found.append(tuple(str(number).zfill(width) for number in itertools.islice(steps, 5000)))
        if len(steps) > 5000:
            return [*found, ("too many to write down",)]
    return found


def is_number(given: str) -> bool:
    return 1 <= len(given) <= 18 and set(given) <= set("0123456789")


def template_of(choices: random.Random) -> str:
    pieces: list[str] = []
    for _ in range(choices.choice((1, 2, 2, 3, 5, 17))):
        numbers = [
            str(choices.choice((0, 1, 5, 9, 10, 99, 100, 12345))) for _ in range(choices.choice((2, 2, 3)))
        ]
        if choices.random() < 0.9:
            numbers = [*sorted(numbers[:2], key=int), *("3" for _ in numbers[2:])]
        padded = [each.zfill(choices.choice((0, 0, 3))) for each in numbers]
        pieces.append(text(choices, ("abc-./",) * 9 + ("\u00e9 ", "ab{}.", "0123.."), 20))
        pieces.append("{" + "..".join(padded) + "}")
    whole = "".join(pieces)
    if choices.random() < 0.3:
        place = choices.randrange(len(whole))
        whole = whole[:place] + choices.choice("{}.-\u0660\0, ") + whole[place + choices.choice((0, 1)) :]
    return whole


def test_templates_stand_for_the_names_that_bash_would_write() -> None:
    understood = refused = 0
    for choices in cases("templates", TEMPLATES, seconds_max=90):
        template = template_of(choices)
        expected = expanded(template)
        try:
            made = NameTemplate.parse(template)
        except InvalidArgument:
            too_many = expected is not None and (
                len(expected) // 2 > RANGES_MAX or size_of(expected) > NAMES_MAX
            )
            assert expected is None or too_many or "too many to write down" in expected[-1], template
            refused += 1
            continue
        assert expected is not None, template
        understood += 1
        if "too many to write down" in expected[-1]:
            continue
        assert len(made) == size_of(expected), template
        names = ["".join(parts) for parts in itertools.islice(itertools.product(*expected), 1000)]
        assert list(itertools.islice(made, 1000)) == names, template
    print(f"{understood} understood, {refused} refused")
    assert min(understood, refused) > TEMPLATES // 1000


def size_of(expected: list[tuple[str, ...]]) -> int:
    size = 1
    for each in expected:
        size *= len(each)
    return size


def test_a_cluster_lists_the_same(cluster: Cluster) -> None:
    """Through the real parser, the placement and the engine's index; with pages of one name and of all."""
    bucket = f"{cluster.endpoint}/v1/buckets/fuzzed-lists"
    with requests.Session() as session:
        session.post(bucket, json={"action": "create-bck"}, timeout=20).raise_for_status()
        for name in NAMES:
            path = "".join(f"%{byte:02X}" for byte in name.encode())
            url = f"{cluster.endpoint}/v1/objects/fuzzed-lists/{path}"
            session.put(url, data=name.encode(), timeout=20).raise_for_status()
        for choices in cases("live list messages", LIVE, seconds_max=60):
            message, found = message_of(choices), list[str]()
            wanted = selected(message)
            while True:
                body = json.dumps({"action": "list", "value": message})
                page = session.get(bucket, data=body, timeout=20).json()
                found += [entry["name"] for entry in page["entries"]]
                if not page["continuation_token"]:
                    break
                message |= {"continuation_token": page["continuation_token"], "start_after": ""}
            assert found == wanted, message
        for choices in cases("live senseless messages", LIVE, seconds_max=60):
            message = message_of(choices) | {
                choices.choice(("prefix", "flags", "start_after")): choices.choice(JUNK)
            }
            answer = session.get(bucket, data=json.dumps({"action": "list", "value": message}), timeout=20)
            assert answer.status_code in (200, 400, 501), (message, answer.text)
        session.delete(bucket, json={"action": "destroy-bck"}, timeout=20).raise_for_status()
