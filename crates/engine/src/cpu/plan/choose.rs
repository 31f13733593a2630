//! Which segments: the fewest multiply-adds done twice that fit the budget.
//!
//! Cuts lie where few bytes cross. For several limits on what one segment keeps while it is gone through, the cheapest
//! cuts are found; of each result as many segments as fit stay stored, late ones first, since late layers compute more
//! for a byte.

use super::super::segments::{Retention, Segment, makes_mask};
use super::simulate::Simulation;
use super::{Fixed, MemoryBudget};
use crate::EngineError;
use std::ops::Range;

/// The segments of a pass; everything is stored where that fits or nothing limits it.
pub(crate) fn choose(
    simulation: &Simulation<'_>,
    budget: Option<MemoryBudget>,
    fixed: &Fixed,
) -> Result<Vec<Segment>, EngineError> {
    let whole = vec![Segment::whole(simulation.program)];
    let Some(limit) = budget else { return Ok(whole) };
    let peak = |segments: &[Segment]| fixed.peak(simulation.run(segments, budget));
    let mut least = peak(&whole);
    if least <= limit.bytes {
        return Ok(whole);
    }
    let mut best: Option<(u64, Vec<Segment>)> = None;
    let borders = Borders::new(simulation);
    for steps in borders.cuts() {
        let with_stored = |stored: usize| segments(&steps, steps.len() - stored);
        let fits = |stored: usize| peak(&with_stored(stored)) <= limit.bytes;
        // The last segment is gone back through at once, so to store it costs nothing.
        least = least.min(peak(&with_stored(1)));
        if !fits(1) {
            continue;
        }
        let (mut low, mut high) = (1, steps.len());
        while low + 1 < high {
            let middle = low.midpoint(high);
            if fits(middle) { low = middle } else { high = middle }
        }
        let chosen = with_stored(low);
        let again = chosen.iter().filter(|segment| segment.retention == Retention::Recomputed);
        let macs = again.map(|segment| simulation.macs(segment.steps.clone())).sum();
        if best.as_ref().is_none_or(|(least, _)| macs < *least) {
            best = Some((macs, chosen));
        }
    }
    best.map(|(_, segments)| segments).ok_or(EngineError::Memory { budget: limit.bytes, least })
}

/// The first `recomputed` of some runs of steps are computed again.
fn segments(steps: &[Range<usize>], recomputed: usize) -> Vec<Segment> {
    let retention = |position| match position < recomputed {
        true => Retention::Recomputed,
        false => Retention::Stored,
    };
    let all = steps.iter().enumerate();
    all.map(|(position, steps)| Segment { steps: steps.clone(), retention: retention(position) })
        .collect()
}

/// Where a program can be cut, and what it costs.
struct Borders {
    /// Positions between steps where fewer bytes cross than around, the two ends included.
    positions: Vec<usize>,
    /// Bytes that cross each.
    crossing: Vec<u64>,
    /// Bytes that the backward reads of all steps before each.
    before: Vec<u64>,
}

impl Borders {
    fn new(simulation: &Simulation<'_>) -> Self {
        let Simulation { program, sizes, readers, all, .. } = simulation;
        let count = program.steps.len();
        // A value crosses all positions after its step, up to its last reader.
        let mut change = vec![0_i64; count + 2];
        let mut cross = |value: usize, made_before: usize| {
            let last = readers[value].map_or(made_before, |(_, last)| last + 1);
            change[made_before] += sizes.value(value) as i64;
            change[last.max(made_before)] -= sizes.value(value) as i64;
        };
        cross(program.input, 0);
        let mut before = vec![0];
        for (index, step) in program.steps.iter().enumerate() {
            cross(step.output, index + 1);
            let numbers = if all.values[step.output] { sizes.value(step.output) } else { 0 };
            let mask = if makes_mask(step) { sizes.mask(step.output) } else { 0 };
            before.push(before[index] + numbers + mask);
        }
        let mut sum = 0;
        let crossing: Vec<i64> = change
            .iter()
            .map(|change| {
                sum += change;
                sum
            })
            .collect();
        let narrow = |&position: &usize| {
            let here = crossing[position];
            here <= crossing[position - 1] && here <= crossing[position + 1]
        };
        let mut positions = vec![0];
        positions.extend((1..count).filter(narrow));
        positions.push(count);
        Self {
            crossing: positions.iter().map(|&position| crossing[position] as u64).collect(),
            before: positions.iter().map(|&position| before[position]).collect(),
            positions,
        }
    }

    /// For each of several limits on what a segment keeps, the cuts that let the fewest bytes cross.
    fn cuts(&self) -> Vec<Vec<Range<usize>>> {
        let last = self.positions.len() - 1;
        let total = self.before[last];
        let mut all: Vec<Vec<Range<usize>>> = Vec::new();
        // From halves to 1/256 of the whole, in steps of a quarter.
        for quarter in 4..=32 {
            let limit = (total as f64 / 2_f64.powf(f64::from(quarter) / 4.0)) as u64;
            if let Some(cuts) = self.cut(limit).filter(|cuts| !all.contains(cuts)) {
                all.push(cuts);
            }
        }
        all
    }

    fn cut(&self, limit: u64) -> Option<Vec<Range<usize>>> {
        let last = self.positions.len() - 1;
        // By position: the fewest bytes that cross up to here, and the cut before.
        let mut best: Vec<Option<(u64, usize)>> = vec![Some((0, 0))];
        let mut first = 0;
        for end in 1..=last {
            while self.before[end] - self.before[first] > limit {
                first += 1;
            }
            let starts = (first..end).filter_map(|start| Some((start, best[start]?.0)));
            let sums = starts.map(|(start, sum)| (sum + self.crossing[start], start));
            best.push(sums.min());
        }
        let mut cuts = Vec::new();
        let mut end = last;
        while end > 0 {
            let (_, start) = best[end]?;
            cuts.push(self.positions[start]..self.positions[end]);
            end = start;
        }
        cuts.reverse();
        Some(cuts)
    }
}
