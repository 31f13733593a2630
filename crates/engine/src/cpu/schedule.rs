//! The order of a pass: which steps run between two meetings of the chunks, and which values stay for the backward.

use super::lower::{Operation, Program, Step};
use super::segments::Segment;
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

/// Per segment, stretches of steps between which all chunks must meet: before a batch norm whose input the same stretch
/// would measure, and at the segment's end.
pub(crate) fn forward_stretches(
    program: &Program,
    measured: &[bool],
    segments: &[Segment],
) -> Vec<Vec<Range<usize>>> {
    let mut met = vec![false; program.values.len()];
    met[program.input] = true;
    let mut fresh = Vec::new();
    let meet = |fresh: &mut Vec<usize>, met: &mut [bool]| {
        fresh.drain(..).for_each(|value: usize| met[value] = true);
    };
    let mut all = Vec::new();
    for segment in segments {
        let mut stretches = Vec::new();
        let mut start = segment.steps.start;
        for index in segment.steps.clone() {
            let step = &program.steps[index];
            let needs = matches!(step.operation, Operation::Batch(_)) && measured[step.input];
            if needs && !met[step.input] {
                stretches.push(start..index);
                start = index;
                meet(&mut fresh, &mut met);
            }
            fresh.push(step.output);
        }
        stretches.push(start..segment.steps.end);
        meet(&mut fresh, &mut met);
        all.push(stretches);
    }
    all
}

/// Whether a backward computes the gradients of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weighted {
    No,
    Yes,
}

/// Which values the backward of a step reads; of a ReLU it reads the mask only.
pub(crate) fn read_back(step: &Step, weighted: Weighted) -> [Option<usize>; 2] {
    let smooth = step.activation.is_some_and(|activation| activation != Activation::Relu);
    let reads_input = match step.operation {
        Operation::Convolution { .. } | Operation::Gain { .. } | Operation::Linear { .. } => {
            weighted == Weighted::Yes
        }
        Operation::Batch(_) | Operation::Group { .. } => true,
        _ => false,
    };
    [(reads_input || smooth).then_some(step.input), step.add.filter(|_| smooth)]
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

/// Stretches of the parts of `steps`, last first, between which all chunks meet: for a batch norm's sums, and before
/// waiting gradients fill the memory.
pub(crate) fn backward_stretches(
    program: &Program,
    statistics: Statistics,
    steps: Range<usize>,
) -> Vec<Vec<Part>> {
    const CONVOLUTIONS: usize = 4;
    let mut stretches = vec![Vec::new()];
    let mut waiting = 0;
    for index in steps.rev() {
        let step = &program.steps[index];
        let last = stretches.last_mut().expect("there is always a stretch");
        last.push(Part::Reduce(index));
        let meets =
            statistics == Statistics::Batch && matches!(step.operation, Operation::Batch(_));
        waiting += usize::from(matches!(step.operation, Operation::Convolution { .. }));
        if meets || waiting == CONVOLUTIONS {
            waiting = 0;
            stretches.push(vec![Part::Apply(index)]);
        } else {
            last.push(Part::Apply(index));
        }
    }
    stretches
}
