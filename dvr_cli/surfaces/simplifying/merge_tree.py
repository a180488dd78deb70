"""The order in which vertices were merged, as a forest that can be cut again.

Edge collapses merge vertices two by two. Nodes 0 to v - 1 of the forest are the vertices of the original mesh, node
v + k is what the k-th collapse makes of two older nodes. The *clusters* are the trees: every vertex belongs to the
cluster whose root it hangs from. Cutting a root gives its two halves back, down to single vertices: a simplification
that went wrong somewhere can be taken back there and nowhere else.
"""

import numpy as np
from jaxtyping import Bool, Int


class MergeTree:
    """Clusters of vertices that collapses made, and their halves."""

    def __init__(self, vertices: int, collapses: Int[np.ndarray, "c 2"]) -> None:
        """`collapses` in their order: the second vertex of each goes into the first and is not named again."""
        kept, gone = collapses.T
        self.vertices = vertices
        self.nodes = vertices + len(collapses)
        self.survivor = np.concatenate([np.arange(vertices), kept])
        """The vertex of every node that its collapses kept."""
        # What a vertex stands for is the node of the last collapse that kept it. A stable sort by the kept vertex puts
        # its collapses in order: the one before gives the first child, and the last one of all is what merges later.
        order = np.argsort(kept, kind="stable")
        made = vertices + order
        first = np.ones(len(order), dtype=bool)
        first[1:] = kept[order][1:] != kept[order][:-1]
        latest = np.arange(vertices)
        latest[kept[order][np.roll(first, -1)]] = made[np.roll(first, -1)]
        previous = kept[order].astype(np.int64)
        previous[1:][~first[1:]] = made[:-1][~first[1:]]
        self.children = np.empty((len(collapses), 2), dtype=np.int64)
        self.children[order, 0] = previous
        self.children[:, 1] = latest[gone]
        self._parent = np.arange(self.nodes, dtype=np.int32)
        for child in self.children.T:
            self._parent[child] = np.arange(vertices, self.nodes)
        self.root = self._roots()
        """The cluster of every vertex, int32."""

    def cut(self, clusters: Int[np.ndarray, "r"], times: int = 1) -> Bool[np.ndarray, "n"]:
        """Halve these clusters, and the halves again `times` - 1 times; vertices stay. Marks the new clusters."""
        affected = np.flatnonzero(self._marks(clusters)[self.root])
        for _ in range(times):
            clusters = clusters[clusters >= self.vertices]
            halves = self.children[clusters - self.vertices].ravel()
            self._parent[halves] = halves
            clusters = halves
        node = affected.astype(np.int32)
        # Only the vertices of these clusters climb again.
        while not np.array_equal(above := self._parent[node], node):
            node = above
        self.root[affected] = node
        return self._marks(node)

    def dissolve(self, clusters: Int[np.ndarray, "r"]) -> Bool[np.ndarray, "n"]:
        """Give all vertices of these clusters back. Marks the new clusters."""
        affected = np.flatnonzero(self._marks(clusters[clusters >= self.vertices])[self.root])
        self.root[affected] = affected
        self._parent[affected] = affected
        return self._marks(affected)

    def all_clusters(self) -> Bool[np.ndarray, "n"]:
        """Marks every cluster."""
        return self._marks(self.root)

    def _marks(self, nodes: Int[np.ndarray, "m"]) -> Bool[np.ndarray, "n"]:
        marked = np.zeros(self.nodes, dtype=bool)
        marked[nodes] = True
        return marked

    def _roots(self) -> Int[np.ndarray, "v"]:
        """The root above every vertex, by doubling the steps."""
        above = self._parent.copy()
        while not np.array_equal(further := above[above], above):
            above = further
        return above[: self.vertices].copy()
