# SPDX-License-Identifier: Apache-2.0
"""XDM: the schema of a dataset in all its forms, and rows that fit it.

A dataset's fields (ground.ABOUT) are a dict from name to kind: a word of KINDS, a dict (an
object), or a list of one kind (an array).
"""
import datetime
import hashlib
import random

TENANT = "simtenant"
NAMESPACE = "https://ns.adobe.com/"
CLASSES = {"time-series": NAMESPACE + "xdm/context/experienceevent",
           "record": NAMESPACE + "xdm/context/profile"}
BEHAVIORS = {"time-series": NAMESPACE + "xdm/data/time-series",
             "record": NAMESPACE + "xdm/data/record"}
MAJOR, VERSION = 1, "1.2"
TEXT = ("title", "description")

# kind: JSON type, format, meta:xdmType
KINDS = {"string": ("string", None, "string"), "integer": ("integer", None, "int"),
         "long": ("integer", None, "long"), "number": ("number", None, "double"),
         "boolean": ("boolean", None, "boolean"), "date": ("string", "date", "date"),
         "date-time": ("string", "date-time", "date-time")}
WORDS = ("Abebe", "Bo", "Chiara", "Dmitri", "Esi", "Farid", "Guðrún", "Hana", "Ivan", "José")


def digest(text, length=40):
    """Hexadecimal digits that depend on the text alone."""
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def schema_id(dataset):
    """The URI of a dataset's schema: the one it names, or one of its own."""
    return dataset["schema"] or f"{NAMESPACE}{TENANT}/schemas/{digest(dataset.id)}"


def alternative_id(uri):
    """meta:altId, the form that needs no percent-encoding."""
    return "_" + uri.removeprefix(NAMESPACE).replace("/", ".")


def title_of(dataset):
    """What a dataset and its schema are called."""
    return dataset["name"] or f"Dataset {dataset.id}"


def properties(fields, text=True):
    """The JSON schema of the members of an object."""
    return {name: field_schema(kind, name if text else None) for name, kind in fields.items()}


def field_schema(kind, title=None):
    """The JSON schema of one field."""
    if isinstance(kind, dict):
        schema = {"type": "object", "meta:xdmType": "object",
                  "properties": properties(kind, title is not None)}
    elif isinstance(kind, list):
        schema = {"type": "array", "meta:xdmType": "array", "items": field_schema(kind[0])}
    else:
        json_type, form, xdm_type = KINDS[kind]
        schema = {"type": json_type, "meta:xdmType": xdm_type}
        if form:
            schema["format"] = form
    if title is not None:
        schema = {"title": title, "description": f"The {title} of a row."} | schema
    return schema


def observable(dataset):
    """observableSchema: the fields that were really seen."""
    return {"type": "object", "meta:xdmType": "object",
            "properties": properties(dataset["fields"], text=False)}


def head(world, dataset):
    """What all forms of a schema begin with."""
    uri = schema_id(dataset)
    container = "tenant" if f"/{TENANT}/" in uri else "global"
    behavior = dataset["behavior"]
    return {
        "$id": uri, "meta:altId": alternative_id(uri), "meta:resourceType": "schemas",
        "version": VERSION, "title": title_of(dataset), "type": "object",
        "description": dataset["description"], "imsOrg": world.org,
        "meta:class": CLASSES[behavior],
        "meta:extends": [CLASSES[behavior], BEHAVIORS[behavior]], "meta:abstract": False,
        "meta:extensible": False, "meta:containerId": container,
        "meta:tenantNamespace": f"_{TENANT}", "meta:sandboxType": "production",
    }


def schema(world, dataset, *, full, text=True, descriptors=False):
    """A schema: raw ($ref and allOf) or full (resolved), with or without titles."""
    answer = head(world, dataset)
    if full:
        answer["properties"] = properties(dataset["fields"], text)
    else:
        group = answer["$id"].replace("/schemas/", "/mixins/")
        answer["allOf"] = [{"$ref": name, "type": "object", "meta:xdmType": "object"}
                           for name in (answer["meta:class"], group)]
    if descriptors:
        answer["meta:descriptors"] = []
    if not text:
        answer = {name: value for name, value in answer.items() if name not in TEXT}
    return answer


def example_row(fields, key, number):
    """Row `number` of a file, for previews: depends on the file's key alone."""
    return {name: example(kind, random.Random(f"{key} {number} {name}"))
            for name, kind in fields.items()}


def example(kind, chance):
    """A value of this kind."""
    if isinstance(kind, dict):
        return {name: example(inner, chance) for name, inner in kind.items()}
    if isinstance(kind, list):
        return [example(kind[0], chance) for _ in range(chance.randrange(3))]
    moment = datetime.datetime(2024, 2, 1, tzinfo=datetime.timezone.utc)
    moment += datetime.timedelta(seconds=chance.randrange(86_400))
    return {"string": lambda: chance.choice(WORDS), "integer": lambda: chance.randrange(100),
            "long": lambda: chance.getrandbits(53), "number": lambda: chance.randrange(999) / 8,
            "boolean": lambda: chance.random() < 0.5,
            "date": lambda: moment.date().isoformat(),
            "date-time": lambda: moment.isoformat().replace("+00:00", "Z")}[kind]()
