//! A graph in layers, from the left to the right, drawn as SVG.
//!
//! Layers by the longest way, a bend for each layer that an edge passes, the order in a layer by the means of the neighbours:
//! the method of Sugiyama, Tagawa and Toda (1981) in its simplest form.

use maud::{Markup, html};

use crate::Tone;

const BOX: (f64, f64) = (176.0, 40.0);
const GAP: (f64, f64) = (56.0, 18.0);
const MARGIN: f64 = 8.0;
/// How many letters of a name are seen.
const LETTERS: usize = 20;
/// How many nodes and edges are drawn; with more nobody sees anything.
const MOST: (usize, usize) = (250, 2000);
/// How often the order in the layers is made better.
const SWEEPS: usize = 8;

/// A node.
#[derive(Debug, Clone, Default)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// What is below the name.
    pub below: String,
    /// How it is.
    pub tone: Tone,
    /// In a word, how it is.
    pub state: String,
    /// Where there is more about it.
    pub link: Option<String>,
    /// The places of the nodes before it.
    pub after: Vec<usize>,
}

/// A node, or the bend of an edge where it passes a layer.
struct Point {
    layer: usize,
    before: Vec<usize>,
    behind: Vec<usize>,
    /// Where in its layer, in units of rows.
    row: f64,
}

/// Draws a graph; `None` where it is too large to be seen, or has nothing to show.
pub fn graph(label: &str, nodes: &[Node]) -> Option<Markup> {
    let n_edges: usize = nodes.iter().map(|node| node.after.len()).sum();
    if nodes.is_empty() || nodes.len() > MOST.0 || n_edges > MOST.1 {
        return None;
    }
    let (points, chains) = points(nodes);
    let x = |point: &Point| MARGIN + point.layer as f64 * (BOX.0 + GAP.0);
    let y = |point: &Point| MARGIN + point.row * (BOX.1 + GAP.1);
    let far = |of: &dyn Fn(&Point) -> f64, size: f64| {
        points.iter().map(of).fold(0.0, f64::max) + size + MARGIN
    };
    let (width, height) = (far(&x, BOX.0), far(&y, BOX.1));
    let edge = |chain: &[usize]| {
        let mut path = String::new();
        for (at, pair) in chain.windows(2).enumerate() {
            let (a, b) = (&points[pair[0]], &points[pair[1]]);
            let (from, to) = (
                (x(a) + BOX.0, y(a) + BOX.1 / 2.0),
                (x(b), y(b) + BOX.1 / 2.0),
            );
            let middle = f64::midpoint(from.0, to.0);
            if at == 0 {
                path += &format!("M{:.1} {:.1}", from.0, from.1);
            } else {
                path += &format!("L{:.1} {:.1}", from.0, from.1);
            }
            path += &format!(
                "C{middle:.1} {:.1} {middle:.1} {:.1} {:.1} {:.1}",
                from.1, to.1, to.0, to.1
            );
        }
        path
    };
    Some(html! {
        svg.graph role="group" aria-label=(label) width=(format!("{width:.0}")) height=(format!("{height:.0}")) viewBox=(format!("0 0 {width:.0} {height:.0}")) {
            @for chain in &chains { path.edge d=(edge(chain)) {} }
            @for (node, point) in nodes.iter().zip(&points) { (node.html(x(point), y(point))) }
        }
    })
}

impl Node {
    fn html(&self, x: f64, y: f64) -> Markup {
        let words = format!("{}: {}", self.name, self.state);
        let is_bare = self.below.is_empty();
        let shape = html! {
            rect.node.(self.tone.class()).bare[is_bare] x=(format!("{x:.1}")) y=(format!("{y:.1}")) width=(BOX.0) height=(BOX.1) rx="6" {}
            text.name x=(format!("{:.1}", x + 12.0)) y=(format!("{:.1}", y + if is_bare { 24.0 } else { 17.0 })) { (short(&self.name)) }
            text.below x=(format!("{:.1}", x + 12.0)) y=(format!("{:.1}", y + 32.0)) { (short(&self.below)) }
        };
        match &self.link {
            Some(link) => html! { a href=(link) { title { (words) } (shape) } },
            None => html! { g { title { (words) } (shape) } },
        }
    }
}

fn short(name: &str) -> String {
    match name.char_indices().nth(LETTERS) {
        None => name.to_owned(),
        Some(_) => name.chars().take(LETTERS - 1).chain(['…']).collect(),
    }
}

/// The points, the nodes first, and the way of each edge along them.
fn points(nodes: &[Node]) -> (Vec<Point>, Vec<Vec<usize>>) {
    let layers = layers(nodes);
    let mut points: Vec<Point> = layers.iter().map(|layer| Point::new(*layer)).collect();
    let mut chains = Vec::new();
    for (to, node) in nodes.iter().enumerate() {
        for from in node
            .after
            .iter()
            .copied()
            .filter(|from| *from < nodes.len())
        {
            // What goes back, in a circle, is not drawn.
            if layers[from] >= layers[to] {
                continue;
            }
            let mut chain = vec![from];
            for layer in layers[from] + 1..layers[to] {
                points.push(Point::new(layer));
                chain.push(points.len() - 1);
            }
            chain.push(to);
            for pair in chain.windows(2) {
                points[pair[0]].behind.push(pair[1]);
                points[pair[1]].before.push(pair[0]);
            }
            chains.push(chain);
        }
    }
    arrange(&mut points);
    (points, chains)
}

impl Point {
    fn new(layer: usize) -> Point {
        Point {
            layer,
            before: Vec::new(),
            behind: Vec::new(),
            row: 0.0,
        }
    }
}

/// The layer of each node: one behind the last of those before it. In a circle it ends somewhere.
fn layers(nodes: &[Node]) -> Vec<usize> {
    let mut layers = vec![0; nodes.len()];
    for _ in 0..nodes.len() {
        let mut is_done = true;
        for (at, node) in nodes.iter().enumerate() {
            let before = node.after.iter().filter_map(|from| layers.get(*from));
            let least = before
                .max()
                .map_or(0, |layer| layer + 1)
                .min(nodes.len() - 1);
            if layers[at] < least {
                layers[at] = least;
                is_done = false;
            }
        }
        if is_done {
            break;
        }
    }
    layers
}

/// Puts the points of each layer where their neighbours are.
fn arrange(points: &mut [Point]) {
    let n_layers = points
        .iter()
        .map(|point| point.layer + 1)
        .max()
        .unwrap_or(0);
    let mut order: Vec<Vec<usize>> = vec![Vec::new(); n_layers];
    for (at, point) in points.iter().enumerate() {
        order[point.layer].push(at);
    }
    let most = order.iter().map(Vec::len).max().unwrap_or(0);
    let centre = |points: &mut [Point], layer: &[usize]| {
        let above = (most - layer.len()) as f64 / 2.0;
        for (row, at) in layer.iter().enumerate() {
            points[*at].row = above + row as f64;
        }
    };
    order.iter().for_each(|layer| centre(points, layer));
    for sweep in 0..SWEEPS {
        let is_forth = sweep % 2 == 0;
        let mut which: Vec<usize> = (0..n_layers).collect();
        if !is_forth {
            which.reverse();
        }
        for layer in which {
            let mean = |at: usize| {
                let point = &points[at];
                let near = if is_forth {
                    &point.before
                } else {
                    &point.behind
                };
                match near.is_empty() {
                    true => point.row,
                    false => near.iter().map(|at| points[*at].row).sum::<f64>() / near.len() as f64,
                }
            };
            let mut keyed: Vec<(f64, usize)> =
                order[layer].iter().map(|at| (mean(*at), *at)).collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
            order[layer] = keyed.into_iter().map(|(_, at)| at).collect();
            centre(points, &order[layer]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nodes(after: &[&[usize]]) -> Vec<Node> {
        let node = |(at, after): (usize, &&[usize])| Node {
            name: format!("n{at}"),
            after: after.to_vec(),
            ..Node::default()
        };
        after.iter().enumerate().map(node).collect()
    }

    #[test]
    fn a_node_stands_behind_all_that_it_comes_after() {
        assert_eq!(layers(&nodes(&[&[], &[0], &[0, 1], &[]])), [0, 1, 2, 0]);
    }

    #[test]
    fn a_long_edge_has_a_bend_in_each_layer_that_it_passes() {
        let (points, chains) = points(&nodes(&[&[], &[0], &[1, 0]]));
        assert_eq!(points.len(), 4);
        assert!(chains.contains(&vec![0, 3, 2]), "{chains:?}");
    }

    #[test]
    fn names_are_text_and_none_is_too_long() {
        let node = Node {
            name: "<script>alert(1)</script> and more".to_owned(),
            ..Node::default()
        };
        let html = graph("g", &[node]).map(|html| html.into_string());
        let html = html.expect("it is small");
        assert!(!html.contains("<script>"), "{html}");
        assert!(html.contains(">&lt;script&gt;alert(1)&lt;/s…<"), "{html}");
    }

    proptest! {
        #[test]
        fn any_graph_is_drawn_and_no_two_nodes_stand_in_one_place(after in proptest::collection::vec(proptest::collection::vec(0..14usize, 0..4), 1..12)) {
            let after: Vec<&[usize]> = after.iter().map(Vec::as_slice).collect();
            let nodes = nodes(&after);
            prop_assert!(graph("g", &nodes).is_some());
            let (points, _) = points(&nodes);
            for (at, a) in points.iter().enumerate() {
                for b in &points[at + 1..] {
                    prop_assert!(a.layer != b.layer || (a.row - b.row).abs() > 0.9);
                }
            }
        }
    }
}
