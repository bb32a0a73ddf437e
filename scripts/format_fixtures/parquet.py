"""Parquet files by pyarrow: several row groups, every compression that is read, other writers' types."""

import pyarrow as pa
import pyarrow.parquet as pq

from rows import ROWS, UTC

PAIR = pa.struct([("x", pa.int32()), ("y", pa.string())])
SCHEMA = pa.schema([
    ("name", pa.string()), ("flag", pa.bool_()), ("tiny", pa.int8()), ("small", pa.int16()), ("n", pa.int32()),
    ("big", pa.int64()), ("single", pa.float32()), ("t", pa.float64()), ("price", pa.decimal128(20, 4)),
    ("day", pa.date32()), ("at", pa.time32("ms")), ("ts", pa.timestamp("ms")), ("ts6", pa.timestamp("us")),
    ("blob", pa.binary()), ("pair", PAIR), ("list", pa.list_(pa.float64())), ("pairs", pa.list_(PAIR)),
    ("tags", pa.map_(pa.string(), pa.int64())),
])

# As other programs have them: wide and zoned types, dictionaries, another order.
OTHER = pa.schema([
    ("tags", pa.map_(pa.string(), pa.int64())), ("more", pa.int8()), ("list", pa.large_list(pa.float64())),
    ("ts6", pa.timestamp("us", "UTC")), ("ts", pa.timestamp("us", "UTC")), ("at", pa.time64("us")),
    ("price", pa.decimal256(40, 4)), ("n", pa.int64()), ("tiny", pa.int32()), ("blob", pa.large_binary()),
    ("name", pa.large_string()), ("flag", pa.bool_()), ("small", pa.int32()), ("big", pa.int64()), ("single", pa.float64()),
    ("t", pa.float64()), ("day", pa.date32()), ("pair", PAIR), ("pairs", pa.list_(PAIR)),
])


def table(schema):
    columns = []
    for field in schema:
        values = [row.get(field.name) for row in ROWS]
        if field.name in ("ts", "ts6") and field.type.tz is None:
            values = [value and value.astimezone(UTC).replace(tzinfo=None) for value in values]
        if field.name == "tags":
            values = [value if value is None else list(value.items()) for value in values]
        columns.append(pa.array(values, field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def write(folder):
    ours, other = table(SCHEMA), table(OTHER)
    for compression in ["none", "snappy", "gzip", "zstd"]:
        pq.write_table(ours, folder / f"{compression}.parquet", row_group_size=5, compression=compression, write_statistics=False)
    pq.write_table(ours, folder / "pages2.parquet", row_group_size=7, compression="snappy", data_page_version="2.0",
                   use_dictionary=False, column_encoding={"big": "DELTA_BINARY_PACKED", "name": "DELTA_BYTE_ARRAY",
                                                          "t": "BYTE_STREAM_SPLIT"}, store_schema=False)
    pq.write_table(other, folder / "other.parquet", row_group_size=4, compression="zstd")


def read(path):
    return pq.read_table(path).to_pylist()
