"""The files of a site: data that no page runs, and a policy that loads nothing else."""

import base64
import hashlib
import json
import re

import pytest

from longtake.errors import LongtakeError
from longtake.features.catalog.site import Site, one_page, plain_json, site_files, write, write_site

EVIL = "</script><script>alert(1)</script>\u2028\x1b[2J\"'<!--"


def test_text_of_stores_never_becomes_script():
    site = Site(data={"stores": plain_json([EVIL]), "run-0": lambda: {"__proto__": EVIL}})
    assert plain_json({"\x1b": float("nan")}) == b'{" ": null}', "names of columns too, and NaN is null"
    page = one_page(site)
    assert page.count("<script") == 3 and "alert(1)</script>" not in page
    block = re.search(r'id="data-stores">(.*?)</script>', page, re.S)[1]
    assert json.loads(block) == ["</script><script>alert(1)</script>  [2J\"'<!--"]
    for name in site.data:
        call = re.fullmatch(rb'longtake\.data\("([a-z0-9-]+)", (".*")\);\n', site.file(name))
        assert call and b"\x1b" not in call[2] and call[2].isascii()
        json.loads(json.loads(call[2]))


def test_the_policy_allows_our_script_alone():
    page = one_page(Site(data={"index": b"{}"}))
    for element in ("script", "style"):
        inside = re.findall(rf"<{element}>(.*?)</{element}>", page, re.S)[-1]
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in page
    for text in (page, Site().page()):
        assert "default-src 'none'" in text and "unsafe" not in text
        assert "http:" not in text.replace("http://www.w3.org/2000/svg", "") and "https:" not in text


def test_export_and_again(tmp_path):
    site = Site(data={"index": b"{}", "videos-0": b"[]", "videos-1": b"[]"})
    total = write_site(site, tmp_path / "site")
    written = {path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("*.*")}
    assert written == {name for name, _ in site_files(site)} and list(site_files(site))[-1][0] == "index.html"
    assert total == sum((tmp_path / "site" / name).stat().st_size for name in written)
    del site.data["videos-1"]
    write_site(site, tmp_path / "site")
    assert not (tmp_path / "site" / "data" / "videos-1.js").exists(), "data of an earlier export do not stay"


def test_other_files_are_not_touched_and_not_served(tmp_path):
    (tmp_path / "labels.csv").write_text("x")
    with pytest.raises(LongtakeError, match="holds other files than a site .labels.csv.: name a new folder"):
        write(Site(), tmp_path)
    with pytest.raises(LongtakeError, match="is a file"):
        write(Site(), tmp_path / "labels.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["labels.csv"]


def test_a_site_of_someone_else_is_not_touched(tmp_path):
    (tmp_path / "video").mkdir()
    (tmp_path / "video" / "1.mp4").write_text("theirs")
    (tmp_path / "index.html").write_text("<title>Our club</title>")
    with pytest.raises(LongtakeError, match="holds other files than a site .index.html.: name a new folder"):
        write_site(Site(), tmp_path)
    assert (tmp_path / "video" / "1.mp4").read_text() == "theirs" and "club" in (tmp_path / "index.html").read_text()


def test_one_file(tmp_path):
    assert write(Site(data={"index": b"{}"}), tmp_path / "lab.html") == (tmp_path / "lab.html").stat().st_size
