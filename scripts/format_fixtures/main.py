"""Writes the fixtures, or checks what our encoders wrote: see scripts/make-format-fixtures."""

import json
import sys
from decimal import Decimal
from pathlib import Path

import cbor2
import msgpack
from grpc_tools import protoc

import parquet
import payloads as of
from rows import COLUMNS, ROWS, canonical_row

HERE = Path(__file__).parent


def framed(given):
    """Payloads in one file: the length of each in four bytes, and its bytes."""
    return b"".join(len(payload).to_bytes(4, "big") + payload for payload in given)


def unframed(file):
    given, at = [], 0
    while at < len(file):
        end = at + 4 + int.from_bytes(file[at : at + 4], "big")
        given.append(file[at + 4 : end])
        at = end
    return given


def lines(rows):
    return "".join(json.dumps(canonical_row(row), ensure_ascii=False) + "\n" for row in rows)


def readers(folder):
    """How payloads of each format are read, and what becomes of ROWS in it."""
    protobuf = of.Protobuf(folder / "rows.desc")
    flat = [{column: row[column] for column in of.CSV_COLUMNS} for row in ROWS]
    return {
        "avro": (of.read_avro, ROWS),
        "cbor": (of.read_cbor, ROWS),
        "csv": (of.read_csv, flat),
        "json": (lambda payload: of.read_json(payload, number), ROWS),
        "msgpack": (of.read_msgpack, ROWS),
        "protobuf": (protobuf.read, [of.without_nulls(row) for row in ROWS]),
    }


def number(text):
    # All digits: a decimal is written as a number.
    return Decimal(text)


def bad_rows(good):
    """Rows that the table cannot hold, by what is wrong with them."""
    return [
        good | {"n": "three"}, good | {"n": 2**31}, good | {"tiny": -129}, good | {"flag": "perhaps"}, good | {"t": "warm"},
        good | {"price": "1.2.3"}, good | {"day": "2026-02-30"}, good | {"pair": [1]}, good | {"list": {"x": 1}},
        good | {"tags": [1, 2]}, good | {"pairs": [1]}, good | {"ts": "yesterday"}, good | {"at": "25:00:00"},
        good | {"list": [1.0, "two"]}, good | {"tags": {"a": "b"}}, good | {"big": 2**63},
    ]


def cut(payload, *shares):
    return [payload[: int(len(payload) * share)] for share in shares]


def write(folder):
    folder.mkdir(parents=True, exist_ok=True)
    proto = ["protoc", f"-I{HERE}", f"-I{Path(protoc.__file__).parent / '_proto'}", "--include_imports"]
    assert protoc.main([*proto, f"--descriptor_set_out={folder / 'rows.desc'}", str(HERE / "rows.proto")]) == 0
    protobuf = of.Protobuf(folder / "rows.desc")
    avro, other = of.avro_writer(of.AVRO), of.avro_writer(of.OTHER_AVRO)
    cbor = [of.for_cbor(row) for row in ROWS]
    others = [of.other_avro(index) for index in range(12)]
    good = {
        "avro": avro(ROWS),
        "avro_other": other(others),
        "cbor": [cbor2.dumps(row) for row in cbor],
        "cbor_canonical": [cbor2.dumps(row, canonical=True, datetime_as_timestamp=True) for row in cbor],
        "cbor_indefinite": [cbor2.dumps(row, indefinite_containers=True, string_referencing=False) for row in cbor],
        "cbor_array": [cbor2.dumps(cbor)],
        "cbor_sequence": [b"".join(map(cbor2.dumps, cbor))],
        "csv": of.write_csv(ROWS),
        "json": of.write_json(ROWS),
        "msgpack": of.write_msgpack(ROWS),
        "msgpack_array": [msgpack.packb([of.for_msgpack(row) for row in ROWS], datetime=True)],
        "protobuf": protobuf.write(ROWS),
    }
    wrong = bad_rows(ROWS[0])
    some = [{"n": 1, "name": "x"}]
    bad = {
        "avro": [b"", *cut(good["avro"][0], 0.3, 0.9), good["avro"][0] + b"\0", b"\x02\xff" * 9],
        "cbor": [cbor2.dumps(of.for_cbor(row)) for row in wrong] + cut(good["cbor"][0], 0.1, 0.5, 0.99)
        + [b"\xff", cbor2.dumps("text"), cbor2.dumps([1, 2]), cbor2.dumps({(1, 2): 1}), b"\xbf\x61n\x01", b"\xa1\x61n\x1c"],
        "csv": [b"a,b,c", good["csv"][0].strip() + b",more", good["csv"][0].replace(b",3,", b",three,"),
                good["csv"][0].replace(b"true", b"perhaps"), good["csv"][0].replace(b"7;seven", b"7;seven;8"), b"\xff\xfe" + good["csv"][0]],
        "json": of.write_json(wrong) + cut(good["json"][0], 0.1, 0.5, 0.99) + [b"{]", b"\"text\"", b"[1]"],
        "msgpack": of.write_msgpack(wrong) + cut(good["msgpack"][0], 0.1, 0.5, 0.99)
        + [b"\xc1", msgpack.packb("text"), msgpack.packb([1]), msgpack.packb({1.5: 1})[:-1], b"\x81\xa1n\xc7"],
        "protobuf": [good["protobuf"][0][:-1], good["protobuf"][0][:20], b"\x0a\x05ab", b"\x0a\x02\xff\xfe", b"\x07", b"\x4a\x03a.b"],
    }
    assert len(wrong) == 16 and some
    for name, given in good.items():
        (folder / f"{name}.bin").write_bytes(framed(given))
    for name, given in bad.items():
        (folder / f"{name}.bad.bin").write_bytes(framed(given))
    (folder / "rows.json").write_text(lines(ROWS))
    for name, (_, rows) in readers(folder).items():
        if rows != ROWS:
            (folder / f"{name}.json").write_text(lines(rows))
    (folder / "avro_other.avsc").write_text(json.dumps(of.OTHER_AVRO, indent=1) + "\n")
    strip = lambda row: {**{c: None for c in COLUMNS}, **{k: v for k, v in row.items() if k in COLUMNS}}
    for row in others:
        row["pair"].pop("more")
    (folder / "avro_other.json").write_text(lines(map(strip, others)))
    parquet.write(folder)


def check(fixtures, folder):
    """Every row of every file in `folder` must be the one that was given to our encoder."""
    wrong = 0
    for name, (read, rows) in readers(fixtures).items():
        given = unframed((folder / f"{name}.bin").read_bytes())
        found = [canonical_row(row) for payload in given for row in read(payload)]
        wrong += differences(name, found, rows)
    for path in sorted(folder.glob("*.parquet")):
        wrong += differences(path.name, [canonical_row(row) for row in parquet.read(path)], ROWS)
    return wrong


def differences(name, found, rows):
    expected, count = [canonical_row(row) for row in rows], 0
    if len(found) != len(expected):
        print(f"{name}: {len(found)} rows, not {len(expected)}")
        return 1
    for number, (have, want) in enumerate(zip(found, expected, strict=True)):
        for column in want.keys() | have.keys():
            if have.get(column, "nothing") != want.get(column, "nothing"):
                count += 1
                print(f"{name}, row {number}, {column}: {have.get(column, 'nothing')!r}, not {want.get(column, 'nothing')!r}")
    if not count:
        print(f"{name}: {len(found)} rows as they should be")
    return count


if __name__ == "__main__":
    match sys.argv[1:]:
        case [folder]:
            write(Path(folder))
        case [folder, "--check", written]:
            sys.exit(min(check(Path(folder), Path(written)), 1))
        case _:
            sys.exit("make-format-fixtures [--check FOLDER]")
