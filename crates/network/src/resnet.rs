//! The ImageNet family: four stages of basic or bottleneck blocks under torchvision's names.
//!
//! Source: He et al. 2016; stride in the 3x3 ("v1.5"), as in the paper's code and torchvision.

use crate::architecture::{Architecture, Shortcut, Stem};
use crate::builder::{Builder, Value, Window};
use crate::{Graph, NetworkError};

/// The depths with a known split over stages.
pub const DEPTHS: [usize; 8] = [18, 34, 50, 101, 152, 200, 338, 638];

/// Channels of the first stage unless chosen otherwise.
pub const WIDTH: usize = 64;

/// The residual branch of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1, 3x3, and 1x1 to four times the channels.
    Bottleneck,
}

impl Block {
    /// Channels given, as a multiple of the stage's.
    pub fn expansion(self) -> usize {
        match self {
            Self::Basic => 1,
            Self::Bottleneck => 4,
        }
    }
}

/// Block kind and number of blocks in each stage, or `None` for a depth not in [`DEPTHS`].
///
/// Source: He et al. 2016 up to 152; 200 as commonly given; 338 and 638 are ours, the paper's split is unknown.
/// A block costs the same in stage 2 and stage 3, so the split changes parameters but not FLOPs.
pub fn stages(depth: usize) -> Option<(Block, [usize; 4])> {
    Some(match depth {
        18 => (Block::Basic, [2, 2, 2, 2]),
        34 => (Block::Basic, [3, 4, 6, 3]),
        50 => (Block::Bottleneck, [3, 4, 6, 3]),
        101 => (Block::Bottleneck, [3, 4, 23, 3]),
        152 => (Block::Bottleneck, [3, 8, 36, 3]),
        200 => (Block::Bottleneck, [3, 24, 36, 3]),
        338 => (Block::Bottleneck, [3, 36, 70, 3]),
        638 => (Block::Bottleneck, [3, 66, 140, 3]),
        _ => return None,
    })
}

pub(crate) fn build(architecture: &Architecture) -> Result<Graph, NetworkError> {
    let split = stages(architecture.depth);
    let expected = format!("one of {DEPTHS:?}");
    let hint = "write the split over stages with resnet::with_stages";
    architecture.require(split.is_some(), "depth", architecture.depth, &expected, hint)?;
    let (block, stages) = split.expect("checked on the line above");
    with_stages(architecture, block, stages)
}

/// A network of this family with any number of blocks in each stage; `architecture.depth` only names it.
///
/// Errors: as [`Architecture::graph`].
pub fn with_stages(
    architecture: &Architecture,
    block: Block,
    stages: [usize; 4],
) -> Result<Graph, NetworkError> {
    let (mut b, scaled) = Builder::new(architecture)?;
    let (kernel, stride) = match architecture.stem {
        Stem::Imagenet => (7, 2),
        Stem::Cifar => (3, 1),
    };
    let stem = Window { out_channels: architecture.width, kernel, stride };
    let mut value = b.convolution("conv1", scaled, stem);
    value = b.norm("bn1", value)?;
    value = b.activation("relu", value);
    if architecture.stem == Stem::Imagenet {
        value = b.max_pool("maxpool", value);
    }
    for (stage, blocks) in stages.into_iter().enumerate() {
        let channels = architecture.width << stage;
        for position in 0..blocks {
            let stride = if stage > 0 && position == 0 { 2 } else { 1 };
            let name = format!("layer{}.{position}", stage + 1);
            value = residual(&mut b, architecture.shortcut, block, &name, value, channels, stride)?;
        }
    }
    b.finish("fc", value)
}

fn residual(
    b: &mut Builder,
    shortcut: Shortcut,
    block: Block,
    name: &str,
    from: Value,
    channels: usize,
    stride: usize,
) -> Result<Value, NetworkError> {
    let out_channels = channels * block.expansion();
    let windows: &[Window] = match block {
        Block::Basic => &[
            Window { out_channels: channels, kernel: 3, stride },
            Window { out_channels: channels, kernel: 3, stride: 1 },
        ],
        Block::Bottleneck => &[
            Window { out_channels: channels, kernel: 1, stride: 1 },
            Window { out_channels: channels, kernel: 3, stride },
            Window { out_channels, kernel: 1, stride: 1 },
        ],
    };
    let mut branch = from;
    for (position, window) in windows.iter().enumerate() {
        let number = position + 1;
        branch = b.convolution(&format!("{name}.conv{number}"), branch, *window);
        branch = b.norm(&format!("{name}.bn{number}"), branch)?;
        if number < windows.len() {
            branch = b.activation(&format!("{name}.relu{number}"), branch);
        }
    }
    let skip = if stride == 1 && from.channels == out_channels {
        from
    } else if shortcut == Shortcut::OptionA {
        b.subsample(&format!("{name}.shortcut"), from, out_channels, stride)
    } else {
        let window = Window { out_channels, kernel: 1, stride };
        let projected = b.convolution(&format!("{name}.downsample.0"), from, window);
        b.norm(&format!("{name}.downsample.1"), projected)?
    };
    let sum = b.join(name, branch, skip);
    Ok(b.activation(&format!("{name}.relu"), sum))
}
