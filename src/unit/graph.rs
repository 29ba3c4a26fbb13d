//! A directed graph of numbered units: what comes before what.
//!
//! Not what the edges mean, and no names. **Invariant:** nothing here recurses, so 10,000
//! units in one chain cost no stack; everything is linear in nodes and edges but [`Graph::order`],
//! which keeps its ties in a heap.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// Nodes 0 to n−1 and the edges between them.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// For each node those that come after it.
    successors: Vec<Vec<usize>>,
    /// For each node those that come before it.
    predecessors: Vec<Vec<usize>>,
}

impl Graph {
    /// A graph of `n` nodes without an edge.
    pub fn new(n: usize) -> Graph {
        Graph { successors: vec![Vec::new(); n], predecessors: vec![Vec::new(); n] }
    }

    /// Says that `first` comes before `then`. Unknown nodes are ignored.
    pub fn add(&mut self, first: usize, then: usize) {
        let n = self.successors.len();
        if first < n && then < n {
            self.successors.get_mut(first).into_iter().for_each(|list| list.push(then));
            self.predecessors.get_mut(then).into_iter().for_each(|list| list.push(first));
        }
    }

    /// Those that come directly after a node.
    pub fn successors(&self, node: usize) -> &[usize] {
        self.successors.get(node).map_or(&[], Vec::as_slice)
    }

    /// Everything that comes after one of a node's successors, and they themselves.
    pub fn reachable(&self, from: usize) -> std::collections::BTreeSet<usize> {
        let mut seen = std::collections::BTreeSet::new();
        let mut open = vec![from];
        while let Some(node) = open.pop() {
            let new = self.successors(node).iter().copied().filter(|next| seen.insert(*next));
            open.extend(new.collect::<Vec<_>>());
        }
        seen
    }

    /// A topological order in which a node of lower rank goes first wherever the edges allow
    /// it. Nodes on a cycle, and what comes after them, are missing.
    pub fn order<R: Ord>(&self, rank: impl Fn(usize) -> R) -> Vec<usize> {
        let mut missing: Vec<usize> = self.predecessors.iter().map(Vec::len).collect();
        let free = missing.iter().enumerate().filter(|(_, count)| **count == 0);
        let mut ready: BinaryHeap<Reverse<(R, usize)>> =
            free.map(|(node, _)| Reverse((rank(node), node))).collect();
        let mut order = Vec::with_capacity(missing.len());
        while let Some(Reverse((_, node))) = ready.pop() {
            order.push(node);
            for next in self.successors(node) {
                if let Some(count) = missing.get_mut(*next) {
                    *count -= 1;
                    if *count == 0 {
                        ready.push(Reverse((rank(*next), *next)));
                    }
                }
            }
        }
        order
    }

    /// The sets of nodes that come before themselves, each sorted (Tarjan's algorithm, with a
    /// stack of its own).
    pub fn cycles(&self) -> Vec<Vec<usize>> {
        let n = self.successors.len();
        let mut tarjan = Tarjan {
            state: vec![State::default(); n],
            next_index: 1,
            open: Vec::new(),
            found: Vec::new(),
        };
        for root in 0..n {
            tarjan.visit(self, root);
        }
        let mut cycles = tarjan.found;
        cycles.retain(|set| match set.as_slice() {
            [single] => self.successors(*single).contains(single),
            _ => true,
        });
        cycles.sort();
        cycles
    }

    /// A shortest way from `start` back to it through `members`, `start` first and not again.
    pub fn round_trip(&self, start: usize, members: &[usize]) -> Vec<usize> {
        let mut came_from = std::collections::BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            for next in self.successors(node) {
                if *next == start {
                    let mut path = vec![node];
                    while let Some(previous) = path.last().and_then(|node| came_from.get(node)) {
                        path.push(*previous);
                    }
                    path.reverse();
                    return path;
                }
                if members.binary_search(next).is_ok() && !came_from.contains_key(next) {
                    came_from.insert(*next, node);
                    queue.push_back(*next);
                }
            }
        }
        vec![start]
    }
}

#[derive(Clone, Default)]
struct State {
    /// 0: not seen yet.
    index: usize,
    low: usize,
    on_stack: bool,
}

struct Tarjan {
    state: Vec<State>,
    next_index: usize,
    open: Vec<usize>,
    found: Vec<Vec<usize>>,
}

impl Tarjan {
    fn index(&self, node: usize) -> usize {
        self.state.get(node).map_or(0, |state| state.index)
    }

    fn enter(&mut self, node: usize) {
        let index = self.next_index;
        self.next_index += 1;
        if let Some(state) = self.state.get_mut(node) {
            *state = State { index, low: index, on_stack: true };
        }
        self.open.push(node);
    }

    fn lower(&mut self, node: usize, low: usize) {
        if let Some(state) = self.state.get_mut(node) {
            state.low = state.low.min(low);
        }
    }

    fn visit(&mut self, graph: &Graph, root: usize) {
        if self.index(root) != 0 {
            return;
        }
        self.enter(root);
        let mut path = vec![(root, 0)];
        while let Some((node, position)) = path.last_mut() {
            let node = *node;
            if let Some(next) = graph.successors(node).get(*position).copied() {
                *position += 1;
                if self.index(next) == 0 {
                    self.enter(next);
                    path.push((next, 0));
                } else if self.state.get(next).is_some_and(|state| state.on_stack) {
                    let index = self.index(next);
                    self.lower(node, index);
                }
                continue;
            }
            path.pop();
            let low = self.state.get(node).map_or(0, |state| state.low);
            if let Some((parent, _)) = path.last() {
                self.lower(*parent, low);
            }
            if low == self.index(node) {
                self.close(node);
            }
        }
    }

    fn close(&mut self, root: usize) {
        let mut set = Vec::new();
        while let Some(node) = self.open.pop() {
            if let Some(state) = self.state.get_mut(node) {
                state.on_stack = false;
            }
            set.push(node);
            if node == root {
                break;
            }
        }
        set.sort_unstable();
        self.found.push(set);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(n: usize, edges: &[(usize, usize)]) -> Graph {
        let mut graph = Graph::new(n);
        edges.iter().for_each(|(first, then)| graph.add(*first, *then));
        graph
    }

    #[test]
    fn cycles_of_all_shapes() {
        assert!(graph(3, &[(0, 1), (1, 2), (0, 2)]).cycles().is_empty());
        assert_eq!(graph(2, &[(1, 1)]).cycles(), [vec![1]]);
        let two = graph(6, &[(0, 1), (1, 0), (1, 2), (2, 3), (3, 4), (4, 2), (4, 5)]);
        assert_eq!(two.cycles(), [vec![0, 1], vec![2, 3, 4]]);
        assert_eq!(two.round_trip(2, &[2, 3, 4]), [2, 3, 4]);
        assert_eq!(two.round_trip(0, &[0, 1]), [0, 1]);
    }

    #[test]
    fn a_long_chain_and_a_long_cycle_cost_no_stack() {
        let n = 100_000;
        let mut edges: Vec<(usize, usize)> = (1..n).map(|node| (node - 1, node)).collect();
        let chain = graph(n, &edges);
        assert_eq!(chain.order(|node| node).len(), n);
        assert!(chain.cycles().is_empty());
        edges.push((n - 1, 0));
        let cycle = graph(n, &edges);
        assert_eq!(cycle.cycles().first().map(Vec::len), Some(n));
        assert!(cycle.order(|node| node).is_empty());
    }

    #[test]
    fn ties_go_by_rank() {
        let graph = graph(5, &[(4, 0), (3, 1)]);
        assert_eq!(graph.order(|node| node), [2, 3, 1, 4, 0]);
        assert_eq!(graph.order(Reverse), [4, 3, 2, 1, 0]);
    }
}
