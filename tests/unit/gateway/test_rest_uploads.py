"""AIStore's multipart upload over REST, its errors in the words that AIStore's clients look for."""

from __future__ import annotations

import json

import pytest

from support.asgi import Answer, Asking

URL = "/v1/objects/b/o"


async def begun(ask: Asking) -> str:
    answer = await ask("POST", URL, json_body={"action": "mpt-upload"})
    assert answer.status == 200
    return answer.body.decode()


async def put_part(ask: Asking, upload: str, number: object, body: bytes) -> Answer:
    return await ask("PUT", f"{URL}?uploadId={upload}&partNumber={number}", body=body)


async def complete(ask: Asking, upload: str, *numbers: object) -> Answer:
    value = [{"part-number": number, "etag": ""} for number in numbers]
    return await ask("POST", f"{URL}?uploadId={upload}", json_body={"action": "mpt-complete", "value": value})


async def abort(ask: Asking, upload: str) -> Answer:
    return await ask("DELETE", f"{URL}?uploadId={upload}", json_body={"action": "mpt-abort"})


async def test_parts_in_any_order_become_the_object_in_the_order_of_their_numbers(ask: Asking) -> None:
    upload = await begun(ask)
    for number, body in ((3, b"three"), (1, b"one"), (2, b"other"), (2, b"two")):
        assert (await put_part(ask, upload, number, body)).headers["etag"]
    assert (await ask("GET", URL)).status == 404
    assert (await complete(ask, upload, 3, 1, 2)).status == 200
    assert (await ask("GET", URL)).body == b"onetwothree"


async def test_an_aborted_upload_leaves_the_object_as_it_was(ask: Asking) -> None:
    await ask("PUT", URL, body=b"before")
    upload = await begun(ask)
    await put_part(ask, upload, 1, b"part")
    assert (await abort(ask, upload)).status == 200
    assert (await ask("GET", URL)).body == b"before"


async def test_after_its_end_an_upload_does_not_exist(ask: Asking) -> None:
    for ends in ("completed", "aborted"):
        upload = await begun(ask)
        await put_part(ask, upload, 1, b"part")
        assert (await (complete(ask, upload, 1) if ends == "completed" else abort(ask, upload))).status == 200
        for answer in (
            await put_part(ask, upload, 2, b"late"),
            await complete(ask, upload, 1),
            await abort(ask, upload),
        ):
            assert (answer.status, "does not exist" in answer.error["message"]) == (404, True)


@pytest.mark.parametrize(
    ("numbers", "text"), [((), "no chunks"), ((1, 1), "partial completion"), ((1, 2), "partial completion")]
)
async def test_a_list_of_parts_that_does_not_fit(ask: Asking, numbers: tuple[int, ...], text: str) -> None:
    upload = await begun(ask)
    await put_part(ask, upload, 1, b"part")
    answer = await complete(ask, upload, *numbers)
    assert (answer.status, text in answer.error["message"]) == (400, True)
    assert (await complete(ask, upload, 1)).status == 200


async def test_an_empty_part_is_refused(ask: Asking) -> None:
    answer = await put_part(ask, await begun(ask), 1, b"")
    assert (answer.status, "invalid size (0)" in answer.error["message"]) == (400, True)


@pytest.mark.parametrize("number", ["0", "-1", "10001", "x", "", "1.5", "99999999"])
async def test_numbers_that_no_part_has_are_refused(ask: Asking, number: str) -> None:
    assert (await put_part(ask, await begun(ask), number, b"x")).status == 400


@pytest.mark.parametrize("value", [None, {}, "x", [1], [{"part-number": 0}], [{"part-number": "1"}], [{}]])
async def test_values_that_are_no_list_of_parts_are_refused(ask: Asking, value: object) -> None:
    upload = await begun(ask)
    await put_part(ask, upload, 1, b"part")
    body = json.dumps({"action": "mpt-complete", "value": value}).encode()
    assert (await ask("POST", f"{URL}?uploadId={upload}", body=body)).status == 400


async def test_a_part_of_a_wrong_checksum_is_not_kept(ask: Asking) -> None:
    upload = await begun(ask)
    headers = {"ais-checksum-type": "xxhash2", "ais-checksum-value": "0" * 16}
    answer = await ask("PUT", f"{URL}?uploadId={upload}&partNumber=1", headers=headers, body=b"part")
    assert answer.status == 400
    assert (await complete(ask, upload, 1)).status == 400


async def test_who_may_only_read_may_not_upload(ask: Asking, ask_as: dict[str, Asking]) -> None:
    upload = await begun(ask)
    reader = ask_as["reader"]
    assert (await reader("POST", URL, json_body={"action": "mpt-upload"})).status == 403
    assert (await put_part(reader, upload, 1, b"x")).status == 403
    assert (await complete(reader, upload, 1)).status == 403
    assert (await abort(reader, upload)).status == 403
