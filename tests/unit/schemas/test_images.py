"""What is passed to a model as an image, and what is refused with which words."""

import base64

import pytest

from schemas.errors import InvalidRecord
from schemas.images import MAX_URL_CHARACTERS, Image

PNG = b"\x89PNG\r\n\x1a\n" + bytes(24)


def encoded(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


@pytest.mark.parametrize(
    ("picture", "media_type"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0" + bytes(20), "image/jpeg"),
        (b"GIF89a" + bytes(20), "image/gif"),
        (b"GIF87a" + bytes(20), "image/gif"),
        (b"RIFF\n\x00\x00\x00WEBPVP8 ", "image/webp"),
    ],
)
def test_the_first_bytes_of_a_picture_say_what_it_is(picture: bytes, media_type: str) -> None:
    assert Image(base64=encoded(picture)).address() == f"data:{media_type};base64,{encoded(picture)}"


@pytest.mark.parametrize(
    "sent",
    [
        f"data:image/jpeg;base64,{encoded(PNG)}",
        encoded(PNG).rstrip("="),
        "\r\n".join(encoded(PNG)[start : start + 16] for start in range(0, len(encoded(PNG)), 16)),
    ],
    ids=["data-url", "unpadded", "lines"],
)
def test_base64_is_taken_in_the_forms_that_it_is_sent_in(sent: str) -> None:
    assert Image(base64=sent).address() == f"data:image/png;base64,{encoded(PNG)}"


@pytest.mark.parametrize(
    ("sent", "detail"),
    [
        ("", "is no PNG, JPEG, GIF or WebP"),
        (encoded(b"%PDF-1.7 secret"), "is no PNG, JPEG, GIF or WebP"),
        (encoded(b"<svg xmlns='secret'/>"), "is no PNG, JPEG, GIF or WebP"),
        (encoded(b"RIFF....WAVE"), "is no PNG, JPEG, GIF or WebP"),
        ("secret picture!", "is not base64"),
        ("sécret", "is not base64"),
        ("A", "is not base64"),
    ],
)
def test_other_bytes_are_refused_without_being_quoted(sent: str, detail: str) -> None:
    with pytest.raises(InvalidRecord, match=detail) as caught:
        Image(base64=sent).address()
    assert caught.value.reason == "unsupported-content"
    assert caught.value.detail.startswith("blob_data.base64: ")
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize("url", ["https://example.com/a.png?size=2", "http://10.0.0.7:8080/a", "HTTPS://Example.com/é"])
def test_an_address_of_the_web_is_passed_on_as_it_is(url: str) -> None:
    assert Image(url=url).address() == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com/secret.png",
        "file:///etc/secret",
        "ftp://example.com/secret.png",
        "gopher://secret",
        "data:image/png;base64,secret",
        "https:///secret.png",
        "https://[secret",
        "https://example.com/a secret.png",
        "https://example.com/\nsecret",
        "https://example.com/" + "secret" * MAX_URL_CHARACTERS,
    ],
)
def test_any_other_address_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(InvalidRecord, match=r"blob_data.url: must ") as caught:
        Image(url=url).address()
    assert caught.value.reason == "unsupported-content"
    assert "secret" not in str(caught.value)


def test_the_picture_itself_counts_where_an_address_is_given_too() -> None:
    assert Image(url="file:///x", base64=encoded(PNG)).address().startswith("data:image/png;")


def test_an_image_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidRecord, match="needs url or base64"):
        Image().address()
