//! CIFAR ResNets of depth 6n+2: three stages of n basic blocks under the names of kuangliu and akamaster.
//!
//! Source: He et al. 2016, §4.2.

use crate::architecture::{Architecture, Shortcut};
use crate::builder::{Builder, Value, Window};
use crate::{Graph, NetworkError};

/// Channels of the first stage unless chosen otherwise.
pub const WIDTH: usize = 16;

pub(crate) fn build(architecture: &Architecture) -> Result<Graph, NetworkError> {
    let depth = architecture.depth;
    let hint = "three stages of n blocks of two layers, a stem and a classifier";
    let fits = depth >= 8 && depth % 6 == 2;
    architecture.require(fits, "depth", depth, "6n+2 with n at least 1", hint)?;
    let (mut b, scaled) = Builder::new(architecture)?;
    let window = Window { out_channels: architecture.width, kernel: 3, stride: 1 };
    let mut value = b.convolution("conv1", scaled, window);
    value = b.norm("bn1", value)?;
    value = b.activation("relu", value);
    for stage in 0..3 {
        let channels = architecture.width << stage;
        for position in 0..(depth - 2) / 6 {
            let stride = if stage > 0 && position == 0 { 2 } else { 1 };
            let name = format!("layer{}.{position}", stage + 1);
            value = residual(&mut b, architecture.shortcut, &name, value, channels, stride)?;
        }
    }
    b.finish("linear", value)
}

fn residual(
    b: &mut Builder,
    shortcut: Shortcut,
    name: &str,
    from: Value,
    channels: usize,
    stride: usize,
) -> Result<Value, NetworkError> {
    let first = Window { out_channels: channels, kernel: 3, stride };
    let mut branch = b.convolution(&format!("{name}.conv1"), from, first);
    branch = b.norm(&format!("{name}.bn1"), branch)?;
    branch = b.activation(&format!("{name}.relu1"), branch);
    branch = b.convolution(&format!("{name}.conv2"), branch, Window { stride: 1, ..first });
    branch = b.norm(&format!("{name}.bn2"), branch)?;
    let skip = if stride == 1 && from.channels == channels {
        from
    } else if shortcut == Shortcut::OptionA {
        b.subsample(&format!("{name}.shortcut"), from, channels, stride)
    } else {
        let window = Window { out_channels: channels, kernel: 1, stride };
        let projected = b.convolution(&format!("{name}.shortcut.0"), from, window);
        b.norm(&format!("{name}.shortcut.1"), projected)?
    };
    let sum = b.join(name, branch, skip);
    Ok(b.activation(&format!("{name}.relu"), sum))
}
