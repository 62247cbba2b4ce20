//! The search: every world that can be reached, the nearest first.

use std::collections::HashMap;
use std::fmt::Write;
use std::rc::Rc;

use super::steps::Steps;
use super::world::{Plan, World};

/// How much was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explored {
    pub worlds: usize,
    pub steps: usize,
    /// How many steps it takes to the world that is farthest away.
    pub depth: usize,
}

/// Looks at every world that a plan can come to.
///
/// # Errors
/// The shortest way to a world that must not be, in words.
pub fn explore(plan: &Plan) -> Result<Explored, String> {
    let mut all = Worlds::default();
    all.note(World::new(plan), 0);
    let mut steps: Vec<(u32, u32)> = Vec::new();
    let mut at = 0;
    while let Some(world) = all.worlds.get(at).cloned() {
        let from = u32::try_from(at).expect("not so many");
        if let Some(why) = world.violation() {
            return Err(all.trace(plan, at, why));
        }
        let next = Steps::of(plan, &world);
        if !next.iter().any(|(event, _)| event.goes_on) && !world.may_rest() {
            return Err(all.trace(plan, at, "nothing goes on, and somebody waits"));
        }
        for (_, world) in next {
            steps.push((from, all.note(world, from)));
        }
        at += 1;
    }
    if let Some(at) = all.circle(&steps) {
        return Err(all.trace(plan, at, "it goes round in a circle from here"));
    }
    let mut depth = 0;
    let mut next = all.worlds.len() - 1;
    while next != 0 {
        next = all.from[next] as usize;
        depth += 1;
    }
    Ok(Explored {
        worlds: all.worlds.len(),
        steps: steps.len(),
        depth,
    })
}

#[derive(Default)]
struct Worlds {
    worlds: Vec<Rc<World>>,
    /// From which one each was reached first.
    from: Vec<u32>,
    numbers: HashMap<Rc<World>, u32>,
}

impl Worlds {
    fn note(&mut self, world: World, from: u32) -> u32 {
        if let Some(number) = self.numbers.get(&world) {
            return *number;
        }
        let number = u32::try_from(self.worlds.len()).expect("not so many");
        let world = Rc::new(world);
        self.numbers.insert(world.clone(), number);
        self.worlds.push(world);
        self.from.push(from);
        number
    }

    /// A world from which one can come back to it: whoever goes round there makes no progress.
    fn circle(&self, steps: &[(u32, u32)]) -> Option<usize> {
        let mut incoming = vec![0_u32; self.worlds.len()];
        for (_, to) in steps {
            incoming[*to as usize] += 1;
        }
        let mut begin = vec![0; self.worlds.len() + 1];
        // They are in the order of where they begin.
        for (from, _) in steps {
            begin[*from as usize + 1] += 1;
        }
        for n in 1..begin.len() {
            begin[n] += begin[n - 1];
        }
        let mut open: Vec<usize> = vec![0];
        let mut done = 0;
        while let Some(at) = open.pop() {
            done += 1;
            for (_, to) in &steps[begin[at]..begin[at + 1]] {
                let left = &mut incoming[*to as usize];
                *left -= 1;
                if *left == 0 {
                    open.push(*to as usize);
                }
            }
        }
        (done < self.worlds.len()).then(|| incoming.iter().position(|left| *left > 0).unwrap_or(0))
    }

    /// The shortest way to a world, in words.
    fn trace(&self, plan: &Plan, at: usize, why: &str) -> String {
        let mut way = vec![at];
        let mut next = at;
        while next != 0 {
            next = self.from[next] as usize;
            way.push(next);
        }
        way.reverse();
        let mut text = format!("{why}, after:\n");
        for pair in way.windows(2) {
            let to = &self.worlds[pair[1]];
            let step = Steps::of(plan, &self.worlds[pair[0]]);
            let event = step.into_iter().find(|(_, next)| *next == **to);
            if let Some((event, _)) = event {
                let _ = writeln!(text, "  {event}");
            }
        }
        text
    }
}
