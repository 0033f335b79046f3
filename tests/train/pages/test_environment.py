import hashlib
from base64 import b64encode

from longtake.train.pages.environment import data_address, policy, render


def test_text_is_escaped_and_the_policy_allows_the_script_alone(tmp_path):
    (tmp_path / "t.html").write_text("{{ policy }}|{{ name }}|<script>{{ script }}</script>|{{ style }}")
    allowed, name, script, style = render(tmp_path / "t.html", "1 < 2", name="<b>\x1b").split("|")
    digest = b64encode(hashlib.sha256(b"1 < 2").digest()).decode()
    assert f"'sha256-{digest}'" in allowed.replace("&#39;", "'") and script == "<script>1 < 2</script>"
    assert name == "&lt;b&gt; " and "&" not in style


def test_without_a_script_none_runs():
    assert "script-src 'none'" in policy("") and "default-src 'none'" in policy("")


def test_a_file_inside_a_page():
    assert data_address(b"ab", "image/jpeg") == "data:image/jpeg;base64,YWI="
