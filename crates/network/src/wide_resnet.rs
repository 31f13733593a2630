//! Wide ResNets `wrn-d-k`: three stages of (d-4)/6 pre-activation blocks under the names of the field's scripts.
//!
//! Source: Zagoruyko & Komodakis 2016; names as in the TRADES and RobustBench networks. Where channels change, the
//! shortcut reads the activated value, as those networks do; elsewhere it reads the block's input.

use crate::architecture::{Architecture, Shortcut, Stem};
use crate::builder::{Builder, Value, Window};
use crate::{Graph, NetworkError};

/// Channels of the stem, whatever the widening factor.
pub const STEM: usize = 16;

pub(crate) fn build(architecture: &Architecture) -> Result<Graph, NetworkError> {
    let depth = architecture.depth;
    let hint = "three stages of n blocks of two layers, a stem, a classifier and the shortcuts";
    let fits = depth >= 10 && depth % 6 == 4;
    architecture.require(fits, "depth", depth, "6n+4 with n at least 1", hint)?;
    let width = architecture.width;
    let hint = "the widening factor k stands for 16 k channels";
    architecture.require(width.is_multiple_of(STEM), "width", width, "a multiple of 16", hint)?;
    let (stem, shortcut) = (architecture.stem, architecture.shortcut);
    let hint = "this family has one form";
    architecture.require(stem == Stem::Cifar, "stem", stem, "cifar", hint)?;
    let projection = shortcut == Shortcut::Projection;
    architecture.require(projection, "shortcut", shortcut, "projection", hint)?;

    let (mut b, scaled) = Builder::new(architecture)?;
    let window = Window { out_channels: STEM, kernel: 3, stride: 1 };
    let mut value = b.convolution("conv1", scaled, window);
    for stage in 0..3 {
        let channels = width << stage;
        for position in 0..(depth - 4) / 6 {
            let stride = if stage > 0 && position == 0 { 2 } else { 1 };
            let name = format!("block{}.layer.{position}", stage + 1);
            value = residual(&mut b, &name, value, channels, stride)?;
        }
    }
    value = b.norm("bn1", value)?;
    value = b.activation("relu", value);
    b.finish("fc", value)
}

fn residual(
    b: &mut Builder,
    name: &str,
    from: Value,
    channels: usize,
    stride: usize,
) -> Result<Value, NetworkError> {
    let first = Window { out_channels: channels, kernel: 3, stride };
    let mut activated = b.norm(&format!("{name}.bn1"), from)?;
    activated = b.activation(&format!("{name}.relu1"), activated);
    let mut branch = b.convolution(&format!("{name}.conv1"), activated, first);
    branch = b.norm(&format!("{name}.bn2"), branch)?;
    branch = b.activation(&format!("{name}.relu2"), branch);
    branch = b.convolution(&format!("{name}.conv2"), branch, Window { stride: 1, ..first });
    let skip = if stride == 1 && from.channels == channels {
        from
    } else {
        let window = Window { out_channels: channels, kernel: 1, stride };
        b.convolution(&format!("{name}.convShortcut"), activated, window)
    };
    Ok(b.join(name, branch, skip))
}
