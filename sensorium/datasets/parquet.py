"""Lists in Parquet: with the paths of pictures, or with the pictures themselves inside.

Needs pyarrow (the extra `data`), imported only here and only when such a file is opened.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, final

from sensorium.data.errors import DataError
from sensorium.datasets.files import LARGEST, Rows
from sensorium.datasets.tables import Columns, Row, choose, row, shown
from sensorium.types import Captioned

LARGEST_GROUP = 2**30
"""Bytes: a row group is the unit of reading, and is kept in memory while it is used."""


@final
class Embedded(Rows[Captioned]):
    """Rows of a Parquet file that holds its pictures. `ids` are file:row, counted from 1.

    Reading one row reads its row group; the last one is kept. Files with large row groups are
    slow in random order: write them as shards.
    """

    def __init__(
        self,
        path: Path,
        column: str,
        starts: Sequence[int],
        keep: Sequence[int],
        texts: Sequence[tuple[str, ...]],
    ):
        self.path, self.column, self.starts = path, column, starts
        self.keep, self.texts = keep, texts
        self.ids = [f"{path.name}:{i + 1}" for i in keep]
        self._group: tuple[int, Any] | None = None

    def __len__(self) -> int:
        return len(self.keep)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_group": None}

    def only(self, keep: Sequence[int], texts: Sequence[tuple[str, ...]]) -> "Embedded":
        """The same file, with these of its rows."""
        return Embedded(self.path, self.column, self.starts, keep, texts)

    def sample(self, i: int) -> Captioned:
        place = self.keep[i]
        group = bisect_right(self.starts, place) - 1
        if self._group is None or self._group[0] != group:
            arrow, parquet = pyarrow()
            try:
                with parquet.ParquetFile(self.path) as file:
                    table = file.read_row_group(group, columns=[self.column])
            except arrow.ArrowException as error:
                raise DataError(f"{self.path}: row group {group}: {error}") from None
            self._group = group, table.column(0).combine_chunks()
        value = self._group[1][place - self.starts[group]].as_py()
        image = value.get("bytes") if isinstance(value, dict) else value
        if image is None:
            raise DataError(f"{self.path}: row {place + 1}: holds no picture")
        if len(image) > LARGEST:
            raise DataError(
                f"{self.path}: row {place + 1}: a picture of more than {LARGEST >> 20} MiB"
            )
        return Captioned(image, self.texts[i], self.ids[i])


def parquet_rows(
    path: Path, image_column: str | None, text_column: str | Sequence[str] | None
) -> Iterator[Row] | Embedded:
    """The rows of a list with paths, or the data set where the pictures are inside.

    The image column is a string, a binary, or a struct of `bytes` and `path` of which one is
    filled in all rows. Raises DataError.
    """
    arrow, parquet = pyarrow()
    try:
        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            columns = choose(path, schema.names, image_column, text_column)
            kind = schema.field(columns.image).type
            texts = list(columns.texts)
            if arrow.types.is_struct(kind):
                fields = {kind.field(i).name: kind.field(i).type for i in range(kind.num_fields)}
                inside = is_bytes(arrow, fields.get("bytes")) and holds_bytes(
                    path, file, columns.image
                )
                if not inside and "path" not in fields:
                    raise DataError(
                        f"{path}: column {columns.image!r} holds neither bytes nor path"
                    )
                wanted = texts if inside else [*texts, f"{columns.image}.path"]
            else:
                inside = is_bytes(arrow, kind)
                wanted = texts if inside else [*texts, columns.image]
            sizes = [file.metadata.row_group(g) for g in range(file.metadata.num_row_groups)]
            if any(g.total_byte_size > LARGEST_GROUP for g in sizes):
                raise DataError(
                    f"{path}: a row group of more than {LARGEST_GROUP >> 20} MiB; write the file "
                    "again with fewer rows in each (row_group_size=)"
                )
            records = file.read(columns=wanted).to_pylist()
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a Parquet file that can be read: {error}") from None
    if not inside:
        return path_rows(path, records, columns)
    starts, start = [], 0
    for group in sizes:
        starts.append(start)
        start += group.num_rows
    said = [
        row(path, number, {**record, columns.image: ""}, columns).texts
        for number, record in enumerate(records, 1)
    ]
    return Embedded(path, columns.image, starts, range(len(said)), said)


def path_rows(path: Path, records: list[dict[str, Any]], columns: Columns) -> Iterator[Row]:
    """Rows whose picture is a path, alone or in a struct."""
    for number, record in enumerate(records, 1):
        image = record[columns.image]
        if isinstance(image, dict):
            record = {**record, columns.image: image["path"]}
        yield row(path, number, record, columns)


def is_bytes(arrow: Any, kind: Any) -> bool:
    """Whether an Arrow type holds raw bytes."""
    return kind is not None and (arrow.types.is_binary(kind) or arrow.types.is_large_binary(kind))


def holds_bytes(path: Path, file: Any, column: str) -> bool:
    """Whether `column.bytes` is filled in all rows (True) or in none; some is an error."""
    rows = empty = 0
    for group in range(file.metadata.num_row_groups):
        part = file.metadata.row_group(group)
        for i in range(part.num_columns):
            chunk = part.column(i)
            if chunk.path_in_schema == f"{column}.bytes":
                if chunk.statistics is None or not chunk.statistics.has_null_count:
                    read = file.read_row_group(group, columns=[f"{column}.bytes"])
                    nulls = sum(v is None or v["bytes"] is None for v in read[column].to_pylist())
                else:
                    nulls = chunk.statistics.null_count
                rows, empty = rows + part.num_rows, empty + nulls
    if 0 < empty < rows:
        raise DataError(
            f"{path}: {empty} of {rows} rows of {shown(column)} hold no bytes; give the bytes in "
            "every row, or the path in every row"
        )
    return empty == 0


def pyarrow() -> tuple[Any, Any]:
    """pyarrow and pyarrow.parquet, or an error that says how to get them."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise DataError("reading Parquet needs pyarrow: pip install 'sensorium[data]'") from None
    return pyarrow, pyarrow.parquet
