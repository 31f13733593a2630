//! How many images a frozen session takes through which steps at once.
//!
//! Early layers have large maps and few weights: one or two images keep their values in a core's second-level cache.
//! Late layers have small maps and many weights, which come from the third level, the scarce resource of all cores
//! together: many images share one reading. So a tile goes through the network stage by stage, and through each stage
//! in runs of as many images as suit its layers. Stages meet where one value alone lives, which is copied.

use super::lower::{Operation, Program, Step};
use kernels::ConvolutionShape;
use kernels::convolution::Algorithm;
use std::ops::Range;

/// Consecutive steps that take equally many images at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stage {
    pub steps: Range<usize>,
    /// Images at once; never fewer than in the stage before.
    pub images: usize,
    /// The one value that comes from the stage before; the first stage has the images.
    pub entry: Option<usize>,
}

impl Stage {
    /// Whether an image is among those that the stage takes together with `first`, the first of them.
    pub fn holds(&self, first: usize, image: usize) -> bool {
        (first..first + self.images).contains(&image)
    }
}

/// Half of a usual second-level cache, in bytes: the other half is for weights and what kernels rearrange.
const CACHE: usize = 1 << 20;

/// A tile's largest value, in bytes: what crosses between stages should at least not reach main memory.
const LARGEST: usize = 32 << 20;

/// Images in a tile at most.
const MOST: usize = 32;

/// Splits a program into stages; the last one's number of images is the tile.
pub(crate) fn stages(program: &Program, readers: &[Option<(usize, usize)>]) -> Vec<Stage> {
    let largest = program.values.iter().map(|value| bytes(value.len())).max().unwrap_or(1);
    let most = (LARGEST / largest).clamp(1, MOST);
    let mut stages: Vec<Stage> = Vec::new();
    let mut start = 0;
    let mut entry = None;
    for end in 1..=program.steps.len() {
        let last = end == program.steps.len();
        let crossing = crossing(program, readers, end);
        if !last && crossing.is_none() {
            continue;
        }
        let images = images(program, start..end, most);
        match stages.last_mut() {
            Some(before) if images <= before.images => before.steps.end = end,
            _ => stages.push(Stage { steps: start..end, images, entry }),
        }
        (start, entry) = (end, crossing);
    }
    stages
}

/// The value that the steps from `end` on read of those before, if it is one and not the images.
pub(crate) fn crossing(
    program: &Program,
    readers: &[Option<(usize, usize)>],
    end: usize,
) -> Option<usize> {
    let made = program.steps[..end].iter().map(|step| step.output);
    let read_later = |&value: &usize| readers[value].is_some_and(|(_, last)| last >= end);
    let mut alive = std::iter::once(program.input).chain(made).filter(read_later);
    match (alive.next(), alive.next()) {
        (Some(value), None) if value != program.input => Some(value),
        _ => None,
    }
}

/// The fewest images with which these steps read hardly more from beyond the second-level cache than they must.
fn images(program: &Program, steps: Range<usize>, most: usize) -> usize {
    let traffic = |images: usize| {
        let steps = &program.steps[steps.clone()];
        steps.iter().map(|step| traffic(program, step, images)).sum::<usize>()
    };
    let sizes = || (0..).map(|power| 1 << power).take_while(|&images| images <= most);
    let least = sizes().map(traffic).min().unwrap_or(0);
    // A twentieth more is not worth the memory.
    sizes().find(|&images| traffic(images) <= least + least / 20).unwrap_or(1)
}

/// Bytes an image of a step has to bring into the second-level cache.
fn traffic(program: &Program, step: &Step, images: usize) -> usize {
    let numbers = step.reads().map(|value| program.values[value].len()).sum::<usize>();
    let values = bytes(numbers + program.values[step.output].len());
    let weights = match &step.operation {
        Operation::Convolution { shape, .. } => bytes(weights(shape)),
        Operation::Linear { .. } => {
            bytes(program.values[step.input].len() * program.values[step.output].len())
        }
        _ => 0,
    };
    weights / images + if images * values > CACHE { values } else { 0 }
}

fn weights(shape: &ConvolutionShape) -> usize {
    match Algorithm::fastest(shape) {
        Algorithm::Direct => shape.out_panels() * shape.panel_len(),
        filter => filter.weights_per_nine() * shape.in_stride * shape.out_stride(),
    }
}

fn bytes(numbers: usize) -> usize {
    numbers * size_of::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use network::architecture::Architecture;
    use network::{Network, Shape};

    fn of(name: &str, side: usize) -> (Program, Vec<Stage>) {
        let mut architecture = Architecture::named(name).expect("a known name");
        architecture.input = Shape::new(3, side, side);
        let graph = architecture.graph().expect("a graph");
        let network =
            Network::initialized(graph, &mut |_: u32, values: &mut [f32]| values.fill(0.0));
        let program = Program::new(&network.expect("a network")).expect("a program");
        let stages = stages(&program, &program.readers());
        (program, stages)
    }

    #[test]
    fn stages_hold_every_step_once_and_ever_more_images() {
        for (name, side) in [("resnet18-cifar", 32), ("wrn-10-4", 32), ("resnet50", 224)] {
            let (program, stages) = of(name, side);
            assert!(stages.len() > 1, "{name}: {stages:?}");
            assert_eq!((stages[0].steps.start, stages[0].entry), (0, None));
            assert_eq!(stages[stages.len() - 1].steps.end, program.steps.len());
            for pair in stages.windows(2) {
                assert_eq!(pair[0].steps.end, pair[1].steps.start, "{name}");
                assert!(pair[1].images > pair[0].images, "{name}: {stages:?}");
                assert_eq!(pair[1].images % pair[0].images, 0, "{name}: {stages:?}");
                let entry = pair[1].entry.expect("a stage behind the first reads a value");
                let of_step = |step: &Step| step.reads().any(|value| value < entry);
                assert!(!program.steps[pair[1].steps.clone()].iter().any(of_step), "{name}");
            }
        }
    }

    #[test]
    fn a_small_network_is_one_stage_of_the_largest_tile() {
        let (_, stages) = of("resnet8-cifar", 16);
        assert_eq!(stages.len(), 1);
        assert_eq!(stages[0].images, MOST);
    }
}
