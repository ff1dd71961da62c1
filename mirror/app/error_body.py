"""An error as the specification writes it, for all that refuse a request, also before there is one.

Source: OCI distribution-spec, "Error Codes".
"""

import json
from http import HTTPStatus

MEDIA_TYPE = b"application/json"


def error_document(code: str, message: str) -> object:
    """What says why something is refused: a word for programs, and a sentence for people."""
    return {"errors": [{"code": code, "message": message, "detail": None}]}


def protocol_error_body(status: int, message: str) -> bytes:
    """The same as bytes, where what came is no request that can be answered; the specification has no code for that."""
    code = "SIZE_INVALID" if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE else "UNSUPPORTED"
    return json.dumps(error_document(code, message)).encode()
