//! How much of a network is worth computing in part.

use super::window::{Window, is_local};
use crate::cpu::lower::{Operation, Program, Step};
use crate::cpu::stages::crossing;

/// The steps that are computed in part; the others see whole maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// How many steps.
    pub steps: usize,
    /// The one value that the others read.
    pub exit: usize,
}

/// Side of the change that the choice is made for: most of a random search's queries change a few pixels.
const TYPICAL: usize = 3;

/// What a part costs beside the same results of a whole map: lists, shorter runs of pixels, and putting back what was
/// there. Between those measured for 16 and 64 channels.
const PART: f64 = 1.3;

/// A head must save a fifth of the work.
const WORTH: f64 = 0.8;

impl Head {
    /// The head that leaves the least to do for a small change in the middle of the image, if it is worth having.
    pub fn of(program: &Program, readers: &[Option<(usize, usize)>]) -> Option<Self> {
        let mut windows = vec![Window::default(); program.values.len()];
        let middle = |length: usize| {
            let first = length.saturating_sub(TYPICAL) / 2;
            first..(first + TYPICAL).min(length)
        };
        let shape = program.input_shape;
        let (rows, columns) = (middle(shape.height), middle(shape.width));
        windows[program.input] = Window { rows, columns };
        let whole: f64 = program.steps.iter().map(|step| work(program, step)).sum();
        let (mut left, mut parts) = (whole, 0.0);
        let mut best: Option<(f64, Self)> = None;
        for (index, step) in program.steps.iter().enumerate() {
            let result = &program.values[step.output];
            if !is_local(step) || index + 1 == program.steps.len() {
                break;
            }
            let mut window = windows[step.input].through(step, result);
            if let Some(add) = step.add {
                window = window.with(&windows[add]);
            }
            let share = window.pixels() as f64 / result.pixels() as f64;
            left -= work(program, step);
            parts += PART * share * work(program, step);
            windows[step.output] = window;
            let Some(exit) = crossing(program, readers, index + 1) else { continue };
            if best.is_none_or(|(least, _)| left + parts < least) {
                best = Some((left + parts, Self { steps: index + 1, exit }));
            }
        }
        best.filter(|&(least, _)| least <= WORTH * whole).map(|(_, head)| head)
    }
}

/// Multiply-adds of one image; everything else is small beside them.
fn work(program: &Program, step: &Step) -> f64 {
    match &step.operation {
        Operation::Convolution { shape, .. } => shape.flops() as f64 / 2.0,
        Operation::Linear { .. } => {
            (program.values[step.input].len() * program.values[step.output].len()) as f64
        }
        _ => program.values[step.output].len() as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use network::architecture::Architecture;
    use network::{Domain, Network, Shape};

    fn head(name: &str, side: usize) -> (Program, Option<Head>) {
        let mut architecture = Architecture::named(name).expect("a known name");
        architecture.input = Shape::new(3, side, side);
        let graph = architecture.graph().expect("a graph");
        let network =
            Network::initialized(graph, &mut |_: u32, values: &mut [f32]| values.fill(0.5));
        let network = network::fold::fold(&network.expect("a network"), Domain::CLEAN);
        let program = Program::new(&network.expect("folded")).expect("a program");
        let head = Head::of(&program, &program.readers());
        (program, head)
    }

    #[test]
    fn shallow_networks_have_a_head_and_what_begins_with_a_large_window_has_none() {
        for (name, side) in [
            ("resnet8-cifar", 21),
            ("resnet8-cifar-w20", 28),
            ("resnet20-cifar", 32),
            ("resnet18-cifar-w16", 32),
        ] {
            let (program, found) = head(name, side);
            let found = found.unwrap_or_else(|| panic!("{name} has a head"));
            assert!(found.steps < program.steps.len());
            assert!(program.steps[..found.steps].iter().all(is_local), "{name}");
            assert!(program.steps[..found.steps].iter().any(|step| step.output == found.exit));
        }
        assert_eq!(head("resnet50", 224).1, None);
    }
}
