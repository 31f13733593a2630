//! Which steps run together for a few images before the next images come.
//!
//! A stage is a run of steps over maps of one size. All its steps run for some images before the next images begin, so
//! that what passes between them stays in the core's second-level cache (2 MiB where this was measured), while late
//! stages take many images at once, so that their weights are read few times: they come from the third level, which
//! gives both cores together some 22 GB/s.

use super::super::lower::{Operation, Program, Step};
use network::Activation;

/// How a step runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Products with weights, over cells.
    Convolution,
    /// A factor and summand per channel, a sum, a ReLU, over cells.
    Pointwise,
    /// A maximum over windows, over cells.
    Pool,
    /// A smooth activation of a value or a sum, over cells.
    Smooth,
    /// A group norm, over cells: its statistics are an image's own, so it folds into nothing.
    Norm,
    /// In f32, all images at once.
    Wide,
}

/// Steps `first..end`, for `images` images at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stage {
    pub first: usize,
    pub end: usize,
    pub kind: StageKind,
    /// Images at a time.
    pub images: usize,
    /// Images interleaved in a value read by this stage's convolutions.
    pub interleaved: usize,
}

/// A wide step stands alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StageKind {
    Cells,
    Wide,
}

pub(crate) fn kind(program: &Program, step: &Step) -> Kind {
    if step.output == program.output {
        return Kind::Wide;
    }
    let simple = step.activation.is_none_or(|activation| activation == Activation::Relu);
    let maps = program.values[step.output].pixels() > 1 && program.values[step.input].pixels() > 1;
    match &step.operation {
        Operation::Convolution { .. } | Operation::Subsample { .. } if simple => Kind::Convolution,
        Operation::Scale { .. } | Operation::Identity if simple && maps => Kind::Pointwise,
        Operation::Identity if maps => Kind::Smooth,
        Operation::Group { .. } if simple && maps => Kind::Norm,
        Operation::MaxPool { .. } if step.activation.is_none() && step.add.is_none() => Kind::Pool,
        _ => Kind::Wide,
    }
}

/// Cuts the program; `images` is what one session takes at a time, a power of two.
pub(crate) fn stages(program: &Program, images: usize) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    let mut side = None;
    for (index, step) in program.steps.iter().enumerate() {
        let wide = kind(program, step) == Kind::Wide;
        let shape = program.values[step.output].shape;
        let now = (!wide).then_some((shape.height, shape.width));
        if index == 0 || wide || now != side {
            let kind = if wide { StageKind::Wide } else { StageKind::Cells };
            stages.push(Stage { first: index, end: index, kind, images, interleaved: 1 });
        }
        stages.last_mut().expect("a stage has begun").end = index + 1;
        side = now;
    }
    for stage in stages.iter_mut().filter(|stage| stage.kind == StageKind::Cells) {
        stage.images = images_at_once(program, stage, images);
        let width = program.values[program.steps[stage.first].output].shape.width;
        stage.interleaved = interleaving(width, images.min(stage.images.max(2)));
        stage.images = stage.images.max(stage.interleaved);
    }
    stages
}

/// The power of two of images that brings least from the third-level cache for each of them.
///
/// The more images, the fewer times weights are read that the second level does not hold: those of a stage, unless they are
/// small. The fewer images, the more of their values stay there: about three of a stage's largest are in use at a time.
/// Where this was measured a core's second level holds 2 MiB and is as fast as it gets up to half of that.
fn images_at_once(program: &Program, stage: &Stage, most: usize) -> usize {
    const NEAR: f64 = (1 << 20) as f64;
    let steps = &program.steps[stage.first..stage.end];
    let bytes = |step: &Step| {
        let value = program.values[step.output];
        value.pixels() * value.shape.channels.next_multiple_of(kernels::half::CELL) * 2
    };
    let in_use = 3.0 * steps.iter().map(bytes).max().unwrap_or(1) as f64;
    let weights: Vec<f64> = steps.iter().filter_map(weight_bytes).collect();
    let all: f64 = weights.iter().sum();
    let each = if all > NEAR { all / weights.len() as f64 } else { 0.0 };
    let from_afar = |images: usize| {
        let spilled = 1.0 - NEAR / (in_use * images as f64);
        each / images as f64 + spilled.max(0.0) * in_use
    };
    let powers = (0..=most.ilog2()).map(|power| 1 << power);
    powers.min_by(|&a, &b| from_afar(a).total_cmp(&from_afar(b))).unwrap_or(1)
}

fn weight_bytes(step: &Step) -> Option<f64> {
    match &step.operation {
        Operation::Convolution { shape, .. } => {
            let window = shape.kernel * shape.kernel;
            Some((2 * shape.in_channels * shape.out_channels * window) as f64)
        }
        _ => None,
    }
}

/// The interleaving, at most `limit`, that computes least for nothing.
///
/// A row of `width` pixels of that many images is cut into tiles of 16; if a tile is one column of 16 images, the
/// columns outside the map are left out as the rows are.
fn interleaving(width: usize, limit: usize) -> usize {
    let tile = kernels::half::TILE;
    let cost = |images: usize| {
        let pixels = width * images;
        let filled = pixels.next_multiple_of(tile) as f64 / pixels as f64;
        // Of three columns of a window, two columns of the map see only two.
        let seen = if images == tile { (3 * width - 2) as f64 / (3 * width) as f64 } else { 1.0 };
        filled * seen
    };
    let mut best = 1;
    for images in [2, 4, 8, 16].into_iter().filter(|&images| images <= limit) {
        if cost(images) < cost(best) - 1e-9 {
            best = images;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_maps_interleave_images_until_no_tile_is_wasted() {
        for (width, limit, expected) in [
            (32, 2, 1),
            (16, 4, 1),
            (8, 16, 16),
            (8, 8, 2),
            (4, 32, 16),
            (4, 4, 4),
            (28, 4, 4),
            (7, 4, 2),
            (7, 16, 16),
        ] {
            assert_eq!(interleaving(width, limit), expected, "{width} wide, at most {limit}");
        }
    }
}
