"""Rows to payloads and back by the reference library of each format. `FORMATS[name]` is (write, read): a list of rows to
a list of payloads, and one payload to its rows."""

import csv
import io
import json
from base64 import b64decode, b64encode
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import cbor2
import fastavro
import msgpack
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from rows import COLUMNS, EPOCH, UTC, canonical

# csv has no form for what is nested deeper, nor for bytes.
CSV_COLUMNS = [column for column in COLUMNS if column not in ("blob", "pairs", "tags")]
NULL = "NULL"


def text(column, value):
    """Values without a form of their own in JSON, MessagePack or csv, as people write them there."""
    match value:
        case Decimal():
            return str(value)
        case datetime():
            return canonical(column, value).replace("T", " ")
        case date() | time():
            return canonical(column, value)
        case bytes():
            return b64encode(value).decode()
    return value


def write_json(rows):
    return [json.dumps({key: text(key, value) for key, value in row.items()}).encode() for row in rows]


def read_json(payload, number):
    row = json.loads(payload, parse_float=number)
    if row.get("blob") is not None:
        row["blob"] = b64decode(row["blob"], validate=True)
    return [row]


def write_csv(rows):
    def field(column, value):
        if value is None:
            return NULL
        if isinstance(value, bool):
            return str(value).lower()
        if column == "pair":
            return ";".join(field("x", inner) for inner in value.values())
        if column == "list":
            return ";".join(field("t", item) for item in value)
        return str(text(column, value))

    payloads = []
    for row in rows:
        out = io.StringIO()
        csv.writer(out).writerow([field(column, row[column]) for column in CSV_COLUMNS])
        payloads.append(out.getvalue().encode())
    return payloads


def read_csv(payload):
    def value(column, field):
        if field == NULL:
            return None
        if column == "pair":
            return dict(zip("xy", (value("y", part) for part in field.split(";")), strict=True))
        if column == "list":
            return [value("t", part) for part in field.split(";")] if field else []
        return field

    lines = list(csv.reader(io.StringIO(payload.decode(), newline="")))
    return [{column: value(column, field) for column, field in zip(CSV_COLUMNS, line, strict=True)} for line in lines]


def for_cbor(row):
    return {key: value.isoformat() if isinstance(value, time) else value for key, value in row.items()}


def read_cbor(payload):
    stream, rows = io.BytesIO(payload), []
    while stream.tell() < len(payload):
        found = cbor2.load(stream)
        rows.extend(found if isinstance(found, list) else [found])
    return rows


def for_msgpack(row):
    return {key: value if isinstance(value, (datetime, bytes)) else text(key, value) for key, value in row.items()}


def write_msgpack(rows, **options):
    return [msgpack.packb(for_msgpack(row), datetime=True, **options) for row in rows]


def read_msgpack(payload):
    return [msgpack.unpackb(payload, timestamp=3)]


def nullable(kind):
    return ["null", kind]


def record(name, fields):
    members = [{"name": field, "type": nullable(kind), "default": None} for field, kind in fields.items()]
    return {"type": "record", "name": name, "fields": members}


def logical(kind, name, **more):
    return {"type": kind, "logicalType": name, **more}


# The schema that Flink derives from the table, and ours therefore too.
PAIR = {"x": "int", "y": "string"}
AVRO = record("record", {
    "name": "string", "flag": "boolean", "tiny": "int", "small": "int", "n": "int", "big": "long", "single": "float",
    "t": "double", "price": logical("bytes", "decimal", precision=20, scale=4), "day": logical("int", "date"),
    "at": logical("int", "time-millis"), "ts": logical("long", "timestamp-millis"),
    "ts6": logical("long", "timestamp-micros"), "blob": "bytes", "pair": record("record_pair", PAIR),
    "list": {"type": "array", "items": nullable("double")},
    "pairs": {"type": "array", "items": nullable(record("record_pairs", PAIR))},
    "tags": {"type": "map", "values": nullable("long")},
}) | {"namespace": "org.apache.flink.avro.generated"}

# Another writer's: other order and types, fields that the table does not have, plain fields that are always there.
OTHER_AVRO = {"type": "record", "name": "Reading", "namespace": "plant", "fields": [
    {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["A", "B"]}},
    {"name": "pair", "type": {"type": "record", "name": "Pair", "fields": [
        {"name": "more", "type": {"type": "array", "items": "string"}}, {"name": "y", "type": "string"},
        {"name": "x", "type": "long"}]}},
    {"name": "price", "type": {"type": "fixed", "name": "Price", "size": 12, "logicalType": "decimal",
                               "precision": 24, "scale": 4}},
    {"name": "t", "type": "float"}, {"name": "big", "type": "int"}, {"name": "n", "type": ["long", "null"]},
    {"name": "key", "type": {"type": "fixed", "name": "Key", "size": 3}},
    {"name": "at", "type": logical("long", "time-micros")},
    {"name": "ts", "type": logical("long", "local-timestamp-micros")},
    {"name": "ts6", "type": logical("long", "timestamp-millis")},
    {"name": "name", "type": "string"},
    {"name": "tags", "type": {"type": "map", "values": "int"}},
    {"name": "list", "type": {"type": "array", "items": "float"}},
]}


def other_avro(number):
    sign = -1 if number % 2 else 1
    ts = EPOCH + timedelta(seconds=sign * number * 1_000_000_007, milliseconds=number)
    return {
        "kind": "AB"[number % 2], "pair": {"more": ["m"] * number, "y": str(number), "x": sign * number},
        "price": Decimal(sign * number * 12345) / 10000, "t": sign * number / 4, "big": sign * number,
        "n": None if number % 3 == 0 else number, "key": b"key", "at": time(number, 2, 3, 4000),
        "ts": ts.replace(tzinfo=None), "ts6": ts, "name": f"other {number}", "tags": {"a": number, "b": -number},
        "list": [number / 8] * number,
    }


def avro_writer(schema):
    parsed = fastavro.parse_schema(schema)

    def write(rows):
        payloads = []
        for row in rows:
            out = io.BytesIO()
            fastavro.schemaless_writer(out, parsed, row)
            payloads.append(out.getvalue())
        return payloads

    return write


def read_avro(payload):
    stream = io.BytesIO(payload)
    found = fastavro.schemaless_reader(stream, fastavro.parse_schema(AVRO), None)
    assert stream.tell() == len(payload), "bytes are left behind the value"
    return [found]


class Protobuf:
    """Messages of rows.proto."""

    def __init__(self, descriptor: Path):
        pool = descriptor_pool.DescriptorPool()
        for file in descriptor_pb2.FileDescriptorSet.FromString(descriptor.read_bytes()).file:
            pool.Add(file)
        self.type = message_factory.GetMessageClass(pool.FindMessageTypeByName("millstream.fixtures.Row"))

    def write(self, rows):
        payloads = []
        for row in rows:
            message = self.type()
            for key, value in row.items():
                self.fill(message, key, value)
            payloads.append(message.SerializeToString(deterministic=True))
        return payloads

    def fill(self, message, key, value):
        field = getattr(message, key)
        match value:
            case None:
                pass
            case datetime():
                field.FromDatetime(value)
            case dict() if key == "pair":
                field.SetInParent()
                for name, inner in value.items():
                    if inner is not None:
                        setattr(field, name, inner)
            case dict():
                field.update({name: inner or 0 for name, inner in value.items()})
            case list() if key == "pairs":
                for item in value:
                    field.add(**{name: inner for name, inner in (item or {}).items() if inner is not None})
            case list():
                field.extend(item or 0.0 for item in value)
            case time():
                setattr(message, key, ((value.hour * 60 + value.minute) * 60 + value.second) * 1000 + value.microsecond // 1000)
            case Decimal() | date():
                setattr(message, key, text(key, value))
            case _:
                setattr(message, key, value)

    def read(self, payload):
        message, row = self.type.FromString(payload), {}
        for key in COLUMNS:
            field, value = self.type.DESCRIPTOR.fields_by_name[key], getattr(message, key)
            if key == "tags":
                row[key] = dict(value) or None
            elif key == "list":
                row[key] = list(value) or None
            elif key == "pairs":
                row[key] = [self.pair(item) for item in value] or None
            elif not message.HasField(key):
                row[key] = None
            elif field.message_type is None:
                row[key] = value
            else:
                row[key] = self.pair(value) if key == "pair" else value.ToDatetime(UTC)
        return [row]

    @staticmethod
    def pair(message):
        return {name: getattr(message, name) if message.HasField(name) else None for name in "xy"}


def without_nulls(row):
    """What comes of a row in protobuf, whose lists and maps hold no NULL, and are not there when they are empty;
    a map is written in the order of its keys."""
    row = dict(row)
    row["list"] = [item or 0.0 for item in row["list"] or []] or None
    row["pairs"] = [item or {"x": None, "y": None} for item in row["pairs"] or []] or None
    row["tags"] = {key: value or 0 for key, value in sorted((row["tags"] or {}).items())} or None
    return row
