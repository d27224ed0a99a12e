"""The measurement of a big mesh, with a small one: it starts, is joined, and an edit arrives."""

from __future__ import annotations

from bench.localmesh import measure


def test_a_mesh_is_started_joined_and_edited():
    found = measure(services=130, endpoints=2)
    assert (found["services"], found["endpoints"]) == (130, 260)
    assert all(found[what] > 0 for what in ("start_s", "start_cpu_s", "first_client_s", "edit_s", "rss_mb"))
    assert found["peak_rss_mb"] < 150, "the messages of another library alone were 50 MB"
