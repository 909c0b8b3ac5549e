# SPDX-License-Identifier: Apache-2.0
"""The shapes in which errors come. The option error_shape makes all refusals of services (not
those of the gateway or of IMS) come in one of them; `own` leaves each as its service has it."""
HTML = "<html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"


def gateway(status, title, detail, _world):
    """The gateway's."""
    return {"error_code": f"{status}000", "message": f"{title}: {detail}"}


def gateway_number(status, title, detail, _world):
    """The gateway's, with a number as code."""
    return {"error_code": status * 1000, "message": f"{title}: {detail}"}


def problem(status, title, detail, world):
    """The platform's, with report and chain."""
    return {
        "type": f"http://ns.adobe.com/aep/errors/SIMU-3102-{status}", "title": title,
        "status": status, "detail": detail,
        "report": {"tenantInfo": {"sandboxName": world.sandbox, "sandboxId": "a" * 32,
                                  "imsOrgId": world.org}, "additionalContext": {}},
        "error-chain": [{"serviceId": "SIMU", "errorCode": f"SIMU-3102-{status}",
                         "invokingServiceId": "SIMU", "unixTimeStampMs": 1_706_745_600_000}]}


def registry(status, title, detail, _world):
    """The Schema Registry's."""
    return {"type": f"http://ns.adobe.com/aep/errors/XDM-1000-{status}", "title": title,
            "status": status, "detail": detail,
            "report": {"registryRequestId": "a15996b5-5133-4cec-9bf7-7d1207904ae3",
                       "timestamp": "06-01-2021 04:11:06", "detailed-message": detail,
                       "sub-errors": []}}


def older(status, title, detail, _world):
    """That of older services."""
    return {"type": "/placeholder/type/uri", "status": status, "title": title,
            "detail": detail}


def flow(_status, title, detail, _world):
    """That of the Flow Service."""
    return {"errorMessage": f"{title}: {detail}"}


def ims(_status, title, detail, _world):
    """That of the token service."""
    return {"error": title, "error_description": detail}


SHAPES = {
    "gateway": gateway, "gateway_number": gateway_number, "problem": problem,
    "registry": registry, "older": older, "flow": flow, "ims": ims,
    "text": lambda _status, title, detail, _world: f"{title}: {detail}",
    "html": lambda _status, title, _detail, _world: HTML.format(title),
    "empty": lambda _status, _title, _detail, _world: "",
}


def reshaped(body, status, world):
    """An error body in the shape that the world asks for."""
    shape = world.options["error_shape"]
    if shape == "own" or not isinstance(body, dict) or "title" not in body:
        return body
    return SHAPES[shape](status, body["title"], body.get("detail", ""), world)


def content_type(body):
    """That of a body: JSON, HTML or text."""
    if not isinstance(body, str):
        return "application/json"
    return "text/html" if body.startswith("<") else "text/plain"
