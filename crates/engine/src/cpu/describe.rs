//! The steps of a program in words and numbers, for profiles.

use super::lower::{Operation, Program, Step};
use crate::StepDescription;
use network::Network;

/// Every step of `program`, lowered from `network`; values take `bytes` a number.
pub(crate) fn steps(network: &Network, program: &Program, bytes: u64) -> Vec<StepDescription> {
    program.steps.iter().map(|step| describe(network, program, step, bytes)).collect()
}

fn describe(network: &Network, program: &Program, step: &Step, bytes: u64) -> StepDescription {
    let output = program.values[step.output];
    let (macs, weights) = match &step.operation {
        Operation::Convolution { shape: s, .. } => {
            let per_value = s.in_channels * s.kernel * s.kernel;
            (output.shape.len() * per_value, s.out_channels * per_value)
        }
        Operation::Linear { .. } => {
            let count = program.values[step.input].shape.len() * output.shape.len();
            (count, count)
        }
        _ => (0, 0),
    };
    let read = [Some(step.input), step.add].into_iter().flatten();
    let numbers = read.map(|value| program.values[value].len()).sum::<usize>() + output.len();
    StepDescription {
        name: network.graph.nodes[step.node.0].name.clone(),
        operation: operation(step),
        output: output.shape,
        macs: macs as u64,
        weight_bytes: weights as u64 * bytes,
        value_bytes: numbers as u64 * bytes,
    }
}

fn operation(step: &Step) -> String {
    let mut text = match &step.operation {
        Operation::Convolution { shape: s, .. } => {
            let (from, to) = (s.in_channels, s.out_channels);
            let stride = if s.stride == 1 { String::new() } else { format!("/{}", s.stride) };
            format!("{0}x{0}{stride} {from}>{to}", s.kernel)
        }
        Operation::Batch(_) => "batch norm".into(),
        Operation::Group { .. } => "group norm".into(),
        Operation::Scale { .. } => "scale".into(),
        Operation::Identity => "identity".into(),
        Operation::Gain { .. } => "gain".into(),
        Operation::Subsample { .. } => "subsample".into(),
        Operation::MaxPool { .. } => "max pool".into(),
        Operation::GlobalAveragePool => "average pool".into(),
        Operation::Flatten => "flatten".into(),
        Operation::Linear { .. } => "linear".into(),
    };
    if step.add.is_some() {
        text.push_str(" +");
    }
    if let Some(activation) = step.activation {
        text.push_str(&format!(" {activation:?}").to_lowercase());
    }
    text
}
