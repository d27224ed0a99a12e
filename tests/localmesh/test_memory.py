"""What is asked for is remembered, but not all of it for ever."""

from __future__ import annotations

from localmesh.compile import View
from localmesh.compile.memory import Memory
from localmesh.compile.snapshot import KINDS_OF_NODES
from tests.localmesh.yaml_folder import SERVICE, Compiled


def test_an_answer_is_made_once_and_the_oldest_is_forgotten():
    made, memory = [], Memory(3)

    def recall(key):
        return memory.recall(key, lambda: made.append(key) or key)

    assert [recall(key) for key in "abab"] == list("abab")
    assert made == ["a", "b"]
    for key in "cd":
        recall(key)
    assert (len(memory), recall("b"), made) == (3, "b", ["a", "b", "c", "d"])
    recall("a")
    assert made == ["a", "b", "c", "d", "a"]


def test_nodes_of_ever_new_namespaces_do_not_fill_the_memory(tmp_path):
    snapshot = Compiled(tmp_path, SERVICE).snapshot
    for number in range(KINDS_OF_NODES + 10):
        snapshot.clusters(View(f"n{number}"))
    assert len(snapshot._clusters) == KINDS_OF_NODES
