"""The animated picture of the demo that opens the README and the docs."""

import pytest

from tests.documents import DOCS, ROOT

PICTURE = DOCS / "demo.webp"


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_the_picture_opens_the_page(page):
    path = (ROOT / page).parent / (ROOT / page).read_text().partition("](")[2].partition(")")[0]
    assert path == PICTURE


def test_the_picture_moves_and_is_small():
    with pytest.importorskip("PIL.Image").open(PICTURE) as image:
        assert image.n_frames > 20
        assert image.size[0] < 1000
    assert PICTURE.stat().st_size < 600_000
