//! The order of a pass: which steps run between two meetings of the chunks, and which values stay for the backward.

use super::lower::{Operation, Program};
use crate::Wants;
use network::{Activation, Statistics};
use std::ops::Range;

/// Images in a chunk: enough that the weights of late layers are read for several images at once, few enough that the
/// values of early layers stay near the core.
pub(crate) fn chunk_images(program: &Program) -> usize {
    // Of 1, 2 and 5 images of 224x224 two took 10 % less time than one, five no less than two; of 4, 8 and 16 images of
    // 32x32 eight were best.
    const CACHED_NUMBERS: usize = 1 << 21;
    let largest = program.values.iter().map(|value| value.len()).max().unwrap_or(1);
    (CACHED_NUMBERS / largest).clamp(1, 8)
}

/// Which values a batch norm takes its statistics of.
pub(crate) fn measured(program: &Program, statistics: Statistics) -> Vec<bool> {
    let mut measured = vec![false; program.values.len()];
    for step in &program.steps {
        if matches!(step.operation, Operation::Batch(_)) {
            measured[step.input] = statistics == Statistics::Batch;
        }
    }
    measured
}

/// Runs of steps between which all chunks must meet: before a batch norm whose input the same run would measure.
pub(crate) fn forward_segments(program: &Program, measured: &[bool]) -> Vec<Range<usize>> {
    let mut segments = Vec::new();
    let mut start = 0;
    let mut met = vec![false; program.values.len()];
    let mut fresh = vec![program.input];
    for (index, step) in program.steps.iter().enumerate() {
        let needs = matches!(step.operation, Operation::Batch(_)) && measured[step.input];
        if needs && !met[step.input] {
            segments.push(start..index);
            start = index;
            fresh.drain(..).for_each(|value| met[value] = true);
        }
        fresh.push(step.output);
    }
    segments.push(start..program.steps.len());
    segments
}

/// Whether a backward computes the gradients of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weighted {
    No,
    Yes,
}

/// Which values the backward reads; of a ReLU it reads the mask only.
pub(crate) fn kept(program: &Program, weighted: Weighted) -> Vec<bool> {
    let mut kept = vec![false; program.values.len()];
    for step in &program.steps {
        let smooth = step.activation.is_some_and(|activation| activation != Activation::Relu);
        let reads_input = match step.operation {
            Operation::Convolution { .. } | Operation::Gain { .. } | Operation::Linear { .. } => {
                weighted == Weighted::Yes
            }
            Operation::Batch(_) | Operation::Group { .. } => true,
            _ => false,
        };
        kept[step.input] |= reads_input || smooth;
        if let Some(add) = step.add {
            kept[add] |= smooth;
        }
    }
    kept[program.output] = true;
    kept
}

/// A step goes back in two parts, between which chunks may have to meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Through the activation, and the sums over pixels.
    Reduce(usize),
    /// To the inputs.
    Apply(usize),
}

/// Which values' gradients lead to something asked for.
pub(crate) fn wanted(program: &Program, wants: Wants) -> Vec<bool> {
    let mut wanted = vec![wants != Wants::Parameters; program.values.len()];
    if wants != Wants::Parameters {
        return wanted;
    }
    for step in &program.steps {
        let learns = !matches!(
            step.operation,
            Operation::Scale { .. }
                | Operation::Identity
                | Operation::Subsample { .. }
                | Operation::MaxPool { .. }
                | Operation::GlobalAveragePool
                | Operation::Flatten
        );
        wanted[step.output] =
            learns || wanted[step.input] || step.add.is_some_and(|add| wanted[add]);
    }
    wanted
}

/// Runs of parts between which all chunks meet: for a batch norm's sums, and before waiting gradients fill the memory.
pub(crate) fn backward_segments(program: &Program, statistics: Statistics) -> Vec<Vec<Part>> {
    const CONVOLUTIONS: usize = 4;
    let mut segments = vec![Vec::new()];
    let mut waiting = 0;
    for index in (0..program.steps.len()).rev() {
        let step = &program.steps[index];
        let last = segments.last_mut().expect("there is always a segment");
        last.push(Part::Reduce(index));
        let meets =
            statistics == Statistics::Batch && matches!(step.operation, Operation::Batch(_));
        waiting += usize::from(matches!(step.operation, Operation::Convolution { .. }));
        if meets || waiting == CONVOLUTIONS {
            waiting = 0;
            segments.push(vec![Part::Apply(index)]);
        } else {
            last.push(Part::Apply(index));
        }
    }
    segments
}
