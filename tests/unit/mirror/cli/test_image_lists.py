"""Which images a file names."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cli.image_lists import images_of

DIGEST = "sha256:" + "0f" * 32
POD = f"""
apiVersion: v1
kind: Pod
metadata: {{name: a, annotations: {{image: nginx@{DIGEST}}}}}
spec:
  initContainers:
    - {{name: first, image: busybox}}
  containers:
    - name: web
      image: "nginx:1.27"
    - name: date
      image: 2026-01-02
---
apiVersion: batch/v1
kind: CronJob
spec: {{jobTemplate: {{spec: {{template: {{spec: {{containers: [{{image: ghcr.io/org/app:v1}}]}}}}}}}}}}
---
"""
COMPOSE = """
services:
  db: &base
    image: postgres:16
    environment: {A: "{{ b }}"}
  other:
    <<: *base
    image: postgres:16
  built:
    build: .
"""
VALUES = f"""
image: {{registry: quay.io, repository: org/app, tag: 1.10}}
sidecar:
  image: {{repository: envoy, digest: {DIGEST}}}
plain: {{image: {{pullPolicy: Always}}}}
"""


@pytest.mark.parametrize(
    ("text", "images"),
    [
        ("nginx:1.27\n\n# what the lab runs\n'redis'  # cache\nnginx:1.27\n", ["nginx:1.27", "redis"]),
        (POD, [f"nginx@{DIGEST}", "busybox", "nginx:1.27", "2026-01-02", "ghcr.io/org/app:v1"]),
        (json.dumps({"items": [{"spec": {"containers": [{"image": "a:1"}, {"image": "b"}]}}]}), ["a:1", "b"]),
        (COMPOSE, ["postgres:16"]),
        (VALUES, ["quay.io/org/app:1.10", f"envoy@{DIGEST}"]),
        ("resource: !Ref Image\nimage: !Sub nginx:1\n", ["nginx:1"]),
        ("", []),
    ],
)
def test_every_image_is_found_once(text: str, images: list[str]) -> None:
    found = images_of(text)
    assert list(found.images) == images
    assert not found.unclear


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image: ${REGISTRY}/app:1", "render it first"),
        ('image: "{{ .Values.image }}"', "render it first"),
        ("image:", "no text"),
        ("image: [a, b]", "no text"),
        ("spec: {image: 'Not An Image'}", "document 1.spec.image: 'Not An Image'"),
        ("nginx\nNGINX\n", "NGINX"),
        ("ok: 1\n---\nimage: a@sha256:0\n", "document 2.image"),
    ],
)
def test_what_is_not_understood_is_told_and_where_it_stands(text: str, said: str) -> None:
    found = images_of(text)
    assert len(found.unclear) == 1
    assert said in found.unclear[0]


@pytest.mark.parametrize("text", ["a: [", "a: b: c", "image: !!python/object:os.system x", "\t- x: @"])
def test_what_is_neither_a_list_nor_yaml_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no list of images, and no YAML"):
        images_of(text)


def test_aliases_of_aliases_take_no_time() -> None:
    lines = ["a0: &a0 {image: nginx}"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
    assert images_of("\n".join(lines)).images == ("nginx",)


@given(st.text(max_size=100))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        images_of(text)


def test_a_line_that_cannot_be_read_is_named_by_its_number() -> None:
    assert images_of("nginx:1.27\n# none\nBAD\n").unclear[0].startswith("line 3: 'BAD': ")
