"""The radix tree as plain frozen data, for people who look at it."""

from __future__ import annotations

import msgspec

from .node import Node


class NodeView(msgspec.Struct, frozen=True, kw_only=True):
    """A node as seen in a snapshot. parent and children are indices into TreeView.nodes; parent None: top level."""

    namespace: str
    parent: int | None
    children: tuple[int, ...]
    first_ids: tuple[int, ...]  # the first of its token ids, as many as were asked for
    n_tokens: int
    n_pages: int
    locks: int
    last_use: int
    read_again: bool  # by a request other than the one that computed it


class TreeView(msgspec.Struct, frozen=True, kw_only=True):
    """The tree at one moment. nodes: parents stand before their children."""

    page_tokens: int
    clock: int
    cached_pages: int
    locked_pages: int
    nodes: tuple[NodeView, ...]


def view_nodes(root: Node, ids_per_node: int | None) -> tuple[NodeView, ...]:
    """All nodes below the root, parents before their children."""
    nodes = list(root.children.values())
    for node in nodes:  # grows while it is walked
        nodes.extend(node.children.values())
    index = {node.number: i for i, node in enumerate(nodes)}
    return tuple(_view(node, index, ids_per_node) for node in nodes)


def _view(node: Node, index: dict[int, int], ids_per_node: int | None) -> NodeView:
    assert node.parent is not None
    return NodeView(
        namespace=node.namespace,
        parent=index.get(node.parent.number),
        children=tuple(index[child.number] for child in node.children.values()),
        first_ids=tuple(node.ids[:ids_per_node].tolist()),
        n_tokens=len(node.ids),
        n_pages=len(node.pages),
        locks=node.locks,
        last_use=node.last_use,
        read_again=node.read_again,
    )
