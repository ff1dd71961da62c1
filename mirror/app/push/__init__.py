"""Pushing: what the distribution API has for writing, in front of the client endpoint that reads.

`request` says what is asked for, `uploads` takes blobs, `manifests` takes manifests, `deletions` deletes.

Source: OCI distribution-spec, "Pushing" and "Content Management".
"""

from .endpoint import PushEndpoint
from .request import has_body
from .stack import PushStack

__all__ = ["PushEndpoint", "PushStack", "has_body"]
