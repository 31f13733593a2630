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
        stage.images = images_at_once(program, stage).min(images);
        let width = program.values[program.steps[stage.first].output].shape.width;
        stage.interleaved = interleaving(width, images.min(stage.images.max(2)));
        stage.images = stage.images.max(stage.interleaved);
    }
    stages
}

/// Images whose values stay in the second-level cache: about three of the stage's largest are in use at a time, and late
/// stages, whose weights are large, leave less room for each image but want more of them.
///
/// Of 1, 2, 4 images for maps of 32x32, 2 to 8 for 16x16, 4 to 16 for 8x8 and 16 or 32 for 4x4 (64 to 512 channels), 1, 2, 8 and
/// 32 were best; one core's second level holds 2 MiB and is as fast as it gets up to half of that.
fn images_at_once(program: &Program, stage: &Stage) -> usize {
    const BYTES: usize = 160 << 10;
    let bytes = |step: &Step| {
        let value = program.values[step.output];
        value.pixels() * value.shape.channels.next_multiple_of(kernels::half::CELL) * 2
    };
    let largest = program.steps[stage.first..stage.end].iter().map(bytes).max().unwrap_or(1);
    let ratio = BYTES as f64 / largest as f64;
    1 << ((ratio * ratio / 2.0).max(1.0) as usize).ilog2()
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
