//! Segments of a recording: runs of steps whose values either stay for the backward or are computed again by it.
//!
//! A recomputed segment leaves behind only what other segments read of it. Going back, the engine runs its forward once
//! more, with the statistics already found, and then its backward: the same kernels on the same numbers in the same
//! order, so that the gradients have the same bits.
//! Source: Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost".

use super::lower::{Operation, Program, Step};
use super::schedule::{Weighted, read_back};
use network::Activation;
use std::ops::Range;

/// What happens to the values of a segment between forward and backward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retention {
    /// They stay in memory.
    Stored,
    /// They are computed again.
    Recomputed,
}

/// Consecutive steps that share a fate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub steps: Range<usize>,
    pub retention: Retention,
}

impl Segment {
    /// A whole program, stored.
    pub fn whole(program: &Program) -> Self {
        Self { steps: 0..program.steps.len(), retention: Retention::Stored }
    }
}

/// What a forward leaves for a backward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// By value: whether its numbers stay.
    pub values: Vec<bool>,
    /// By value: whether the mask of the ReLU that made it stays.
    pub masks: Vec<bool>,
    /// By step: whether a pool's winners and a group norm's coefficients stay.
    pub steps: Vec<bool>,
}

impl Kept {
    /// What a backward over all steps reads.
    pub fn all(program: &Program, weighted: Weighted) -> Self {
        let mut kept = Self {
            values: vec![false; program.values.len()],
            masks: vec![true; program.values.len()],
            steps: vec![true; program.steps.len()],
        };
        for step in &program.steps {
            read_back(step, weighted).into_iter().flatten().for_each(|v| kept.values[v] = true);
        }
        kept.values[program.output] = true;
        kept
    }

    /// What stays between the forward and the backward of a recording in `segments`.
    pub fn between(program: &Program, segments: &[Segment]) -> Self {
        let mut kept = Self {
            values: vec![false; program.values.len()],
            masks: vec![false; program.values.len()],
            steps: vec![false; program.steps.len()],
        };
        let makers = segments_of_values(program, segments);
        for (position, segment) in segments.iter().enumerate() {
            let stored = segment.retention == Retention::Stored;
            for index in segment.steps.clone() {
                let step = &program.steps[index];
                kept.steps[index] = stored;
                kept.masks[step.output] |= stored;
                if stored {
                    for value in read_back(step, Weighted::Yes).into_iter().flatten() {
                        kept.values[value] = true;
                    }
                }
                for value in step.reads().filter(|&value| makers[value] != Some(position)) {
                    // Whoever completes the gradient of a value needs its mask, before its segment is run again.
                    kept.masks[value] = true;
                    kept.values[value] |= !stored;
                }
            }
        }
        kept.values[program.output] = true;
        kept.masks[program.output] = true;
        kept
    }
}

/// The steps of a recomputed segment that have to run again, given what was kept.
pub(crate) fn run_again<'a>(
    program: &'a Program,
    readers: &'a [Option<(usize, usize)>],
    kept: &'a Kept,
    segment: &'a Segment,
) -> impl Iterator<Item = usize> + 'a {
    segment.steps.clone().filter(|&index| {
        let step = &program.steps[index];
        let has_state =
            matches!(step.operation, Operation::MaxPool { .. } | Operation::Group { .. });
        let read_here = readers[step.output].is_some_and(|(first, _)| first < segment.steps.end);
        has_state || (read_here && !kept.values[step.output])
    })
}

/// Whether a step's output has a mask.
pub(crate) fn makes_mask(step: &Step) -> bool {
    step.activation == Some(Activation::Relu)
}

/// By value: the segment that makes it; none for the images.
fn segments_of_values(program: &Program, segments: &[Segment]) -> Vec<Option<usize>> {
    let mut makers = vec![None; program.values.len()];
    for (position, segment) in segments.iter().enumerate() {
        for step in &program.steps[segment.steps.clone()] {
            makers[step.output] = Some(position);
        }
    }
    makers
}
