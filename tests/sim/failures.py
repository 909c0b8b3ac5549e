# SPDX-License-Identifier: Apache-2.0
"""Why batches fail: errors[] of the batch object, and the rows that diagnostics show.

All is derived from the batch. A failed batch without failed records failed as a whole, by its
first file; one with failed records failed by rows; a readable one with failed records lost these
rows to partial ingestion.
"""
import json

import ground
import xdm
from validate import MAGIC, is_stored, rows

FAILED = ("failed", "failure")
ROWS_MAX = 1000  # of one file of error rows
SAMPLE = 10
LOCATION = "adl://dataLake.azuredatalakestore.net/connectors-dev/stage"
CORRUPT = {"code": "1401", "message": "Row is corrupted and cannot be read, please fix and "
                                      "resend."}


def records(size):
    """How many rows a file of this size is said to have."""
    return size // 100 + 1 if size else 0


def members(world, batch):
    """The members of the batch object that tell of failure."""
    status = batch.current()[0]
    if status in FAILED:
        return {"errors": [row_error(world, batch) if batch.failed_records
                           else file_error(world, batch)],
                "failedBatchLocation": f"{LOCATION}/{batch.id}/{batch.dataset}"}
    if status in ground.READABLE and batch.failed_records:
        return {"errors": [row_error(world, batch)]}
    return {"errors": []}


def diagnosed(batch):
    """Are error rows kept? They are unless a tag says otherwise."""
    value = batch.tags.get("acp_enableErrorDiagnostics", ["true"])
    value = value[0] if isinstance(value, list) and value else value
    return str(value).lower() != "false"


def row_error(world, batch):
    """errors[] of a batch with bad rows."""
    count, lost = batch.failed_records, world.datasets[batch.dataset]
    if not diagnosed(batch):
        return error("INGEST-1211-400", f"Encountered {count} errors in the data. Error "
                     "diagnostics is not enabled, no rows were kept.", count)
    rest = "The rest was ingested." if batch.readable() else "Nothing was ingested."
    return error("INGEST-1212-400", f"Encountered {count} errors in the data of "
                 f"{xdm.title_of(lost)}. {rest} Retrieve the rows by the meta path "
                 "row_errors.", count)


def error(code, description, count=None):
    """One element of errors[]."""
    row = {"code": code, "description": description, "rows": []}
    return row if count is None else row | {"recordCount": count}


def file_error(world, batch):
    """errors[] of a batch that failed by a file."""
    files = [file for _, file in batch.rows()]
    if not any(file.size for file in files):
        return error("106", "Dataset file is empty: the batch has no data.")
    form = form_of(world, batch)
    if form == "csv":
        return error("118", f"CSV file '{files[0].name}' has an empty header row.")
    if form != "parquet":
        return error("INGEST-1401-400", f"File '{files[0].name}' is corrupted and cannot be "
                                        "read.")
    bad = next((file for file in files if tail(file) != MAGIC), files[0])
    path = f"{LOCATION}/{batch.id}/{batch.dataset}/{bad.name}"
    return error("200", f"Error in validating schema for file: '{path}' with errorMessage="
                 f"{path} is not a Parquet file. expected magic number at tail {list(MAGIC)} "
                 f"but found {list(tail(bad))} and errorType=java.lang.RuntimeException")


def form_of(world, batch):
    """What its writer said that it is, or else what its dataset is."""
    return batch.extra.get("inputFormat", {}).get("format") or (
        world.datasets[batch.dataset]["format"])


def tail(file):
    """The last four bytes of a file."""
    return file.content().read(max(file.size - 4, 0), 4)


def error_rows(world, batch):
    """The bad rows as dicts: those that were sent; of generated files rows are made, every other
    one such that it could not even be parsed."""
    if not diagnosed(batch):
        return
    sent = [file for _, file in batch.rows() if is_stored(file)]
    if sent:
        for file in sent:
            for line in rows(form_of(world, batch), file)[1]:
                yield {"_corrupt_record": line.decode(errors="replace"), "_errors": [CORRUPT],
                       "_filename": file.name}
        return
    names = [file.name for _, file in batch.data()] or ["unknown"]
    fields = world.datasets[batch.dataset]["fields"]
    for number in range(batch.failed_records):
        row = xdm.example_row(fields, batch.id, number)
        source = {"_filename": names[number % len(names)]}
        if number % 2:
            text = json.dumps(row)
            yield {"_corrupt_record": text[:-1 - len(text) // 3], "_errors": [CORRUPT]} | source
        else:
            column = next(iter(row))
            del row[column]
            yield row | {"_errors": [{"code": "INGEST-1555-400", "column": column,
                                      "message": f"The required field {column} is missing."}]
                         } | source


def meta_files(world, batch):
    """path -> text of all files that diagnostics keep for a batch."""
    bad = list(error_rows(world, batch))
    files = {"row_errors_sample.json": json_lines(bad[:SAMPLE])} if bad else {}
    kinds = {"conversion": [row for row in bad if "_corrupt_record" not in row],
             "parsing": [row for row in bad if "_corrupt_record" in row]}
    for kind, found in kinds.items():
        for number, begin in enumerate(range(0, len(found), ROWS_MAX)):
            files[f"row_errors/{kind}_errors_{number}.json"] = json_lines(
                found[begin:begin + ROWS_MAX])
    paths = [{"path": file.name} for _, file in batch.rows()]
    files["input_files/fileMetaData1.json"] = json_lines(paths)
    return files


def json_lines(objects):
    """One object a line."""
    return "".join(json.dumps(item) + "\n" for item in objects)
