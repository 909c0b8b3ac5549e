# SPDX-License-Identifier: Apache-2.0
"""Objects of Catalog other than batches, as real ones look: datasets and dataset files, in
today's shape and in that of the ETL guide of 2018."""
import collections

import ground
import xdm
from catalog import CLIENT, USER

FAILED = ("failed", "failure")
SEED_NAMES = {"dule": {}, "aspect": "production", "status": "enabled",
              "connectorId": "azure-blob"}


def view_of(dataset_id):
    """The only view of a dataset."""
    return f"{dataset_id}-view"


def batches_by_dataset(world):
    """dataset id -> its batches in order of creation, sub-batches left out."""
    found = collections.defaultdict(list)
    for batch in world.batches.values():
        if not batch.sub_of:
            found[batch.dataset].append(batch)
    for batches in found.values():
        batches.sort(key=lambda batch: batch.created)
    return found


def last_batches(world, dataset, batches):
    """What /lastBatches says of one dataset; no members for what there is not."""
    states = [(batch.id, *batch.current()) for batch in batches]
    row = {"imsOrg": world.org, "sandboxId": "a" * 32, "created": dataset["created"],
           "updated": max([dataset["created"], *(when for _, _, when in states)])}
    good = [name for name, status, _ in states if status in ground.READABLE]
    bad = [name for name, status, _ in states if status in FAILED]
    if states:
        row |= {"lastBatchId": states[-1][0], "lastBatchStatus": states[-1][1]}
    if good:
        row["lastSuccessfulBatchId"] = good[-1]
    if bad:
        row["lastFailedBatchId"] = bad[-1]
    return row


def dataset_row(world, dataset, batches):
    """The dataset object."""
    last = last_batches(world, dataset, batches)
    row = {
        "name": xdm.title_of(dataset), "description": dataset["description"],
        "imsOrg": world.org, "created": dataset["created"], "updated": last["updated"],
        "createdClient": CLIENT, "createdUser": USER, "updatedUser": USER,
        "version": f"1.0.{len(batches)}", "viewId": view_of(dataset.id),
        "fileDescription": file_description(world, dataset),
        "observableSchema": xdm.observable(dataset),
    }
    if world.options["dataset_shape"] == "seed":
        return row | seed_members(dataset)
    row |= today_members(dataset, batches) | last_members(last)
    if world.options["dead_members"]:
        row |= dead_members(dataset)
    return row


def file_description(world, dataset):
    """fileDescription: long today, two members in the guide."""
    form = dataset["format"]
    if world.options["dataset_shape"] == "seed":
        return {"persisted": False, "format": form}
    row = {"persisted": True, "containerFormat": form, "format": form}
    if form == "csv":
        row |= {"delimiters": [","], "quotes": ['"'], "escapes": ["\\"], "nullMarkers": [""],
                "header": True, "charset": "UTF-8"}
    return row


def today_members(dataset, batches):
    """What only today's objects have."""
    live = [batch for batch in batches if batch.readable()]
    sizes = [file.size for batch in live for _, file in batch.data()]
    as_of = max([dataset["created"], *(batch.current()[1] for batch in live)])
    lake = {"metrics": {"rowCount": sum(size // 100 + 1 for size in sizes if size),
                        "storageSize": sum(sizes), "asOf": as_of},
            "tableHealthMetrics": {"noOfFilesTotal": len(sizes), "noOfPartitionsTotal": 1}}
    if dataset["ttl"]:
        lake["rowExpiration"] = {"ttlValue": dataset["ttl"]}
    return {
        "id": dataset.id, "sandboxId": "a" * 32, "state": dataset["state"], "namespace": "ACP",
        "dule": {}, "statsCache": {}, "unifiedTags": [], "systemLabels": [],
        "schemaMetadata": {"primaryKey": [], "delta": [], "dule": [], "gdpr": []},
        "schemaRef": {"id": xdm.schema_id(dataset),
                      "contentType": f"application/vnd.adobe.xed+json;version={xdm.MAJOR}"},
        "basePath": f"adl://simulated.azuredatalakestore.net/platform/{dataset.id}",
        "files": f"@/dataSetFiles?dataSetId={dataset.id}",
        "tags": tags_of(dataset), "enableErrorDiagnostics": False,
        "classification": {"dataBehavior": dataset["behavior"], "managedBy": "CUSTOMER"},
        "extensions": {"adobe_lakeHouse": lake, "adobe_unifiedProfile": {}},
        "persistence": {"adls": {"location": f"adl://simulated/{dataset.id}",
                                 "adlsType": "adls", "credentials": "@/dataSets/credentials"}},
    }


def tags_of(dataset):
    """Tags that every dataset has, and those of the world."""
    table = xdm.title_of(dataset).lower().replace(" ", "_").replace("-", "_")
    return {"adobe/pqs/table": [table],
            "adobe/siphon/table/format": [dataset["table_format"]],
            "aep/siphon/partitions": [],
            "adobe/siphon/partition/definition": ["day(timestamp, _ACP_DATE)",
                                                  "identity(_ACP_BATCHID)"]} | dataset["tags"]


def last_members(last):
    """Datasets name their last batches differently than /lastBatches does."""
    names = {"lastBatchId": "lastBatchId", "lastBatchStatus": "lastBatchStatus",
             "lastSuccessfulBatchId": "lastSuccessfulBatch",
             "lastFailedBatchId": "lastFailedBatch"}
    return {mine: last[name] for name, mine in names.items() if name in last}


def seed_members(dataset):
    """What only the objects of the guide have."""
    view = f"@/dataSets/{dataset.id}/views/{view_of(dataset.id)}"
    return SEED_NAMES | dead_members(dataset) | {
        "files": f"{view}/files", "transforms": f"{view}/transforms",
        "children": f"@/dataSetViews/{view_of(dataset.id)}/children"}


def dead_members(dataset):
    """`fields` and `schema`, gone since 2019."""
    return {"schema": f"@/xdms/{xdm_path(dataset)}",
            "fields": [{"name": name, "type": field_type(kind)}
                       for name, kind in dataset["fields"].items()]}


def xdm_path(dataset):
    """Where /xdms has the dataset's schema."""
    return xdm.schema_id(dataset).removeprefix(xdm.NAMESPACE).removeprefix("xdm/")


def field_type(kind):
    """The type of a field in `fields`."""
    return xdm.field_schema(kind)["type"]


def dataset_file_rows(world, batches):
    """/dataSetFiles: those of readable batches."""
    rows = {}
    for batch in batches:
        if not batch.readable():
            continue
        for item in batch.files:
            rows[item.id] = {
                "id": item.id, "version": "1.0.0", "batchId": batch.id,
                "created": batch.created, "updated": batch.created, "imsOrg": world.org,
                "dataSetViewId": view_of(batch.dataset), "createdClient": CLIENT,
                "createdUser": USER, "updatedUser": USER, "availableDates": {},
            }
            if world.options["dataset_shape"] == "seed":
                del rows[item.id]["id"]
    return rows
