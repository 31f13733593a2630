//! What a step fetches into the second-level cache for those after it: the next step's first weights, and, a part each,
//! the values that the stage's next images bring from the third level.

use super::forward::Tile;
use super::gradients::Backward;
use super::stages::{Stage, StageKind};
use super::values::{Place, Scope};
use super::weights::StepWeights;
use crate::observe::Direction;
use kernels::half::{Ahead, Lines, Source};
use std::ops::Range;

impl Tile<'_> {
    /// For step `index` of the stage's images from `first` on.
    pub fn ahead<'a>(
        &'a self,
        direction: Direction,
        stage: &Stage,
        index: usize,
        first: usize,
        buffers: &'a [Lines<u16>],
    ) -> Ahead<'a> {
        let next = first + stage.images;
        let more = next < self.count;
        let images = next..(next + stage.images).min(self.count);
        Ahead {
            weights: self.next_weights(direction, stage, index, more),
            values: if more { self.part(direction, stage, index, images, buffers) } else { &[] },
        }
    }

    fn next_weights(
        &self,
        direction: Direction,
        stage: &Stage,
        index: usize,
        more: bool,
    ) -> &[u16] {
        let next = match direction {
            Direction::Forward if index + 1 == stage.end && more => Some(stage.first),
            Direction::Forward => Some(index + 1),
            Direction::Backward if index == stage.first && more => Some(stage.end - 1),
            Direction::Backward => index.checked_sub(1),
        };
        let weights = next.and_then(|next| self.frozen.weights.get(next));
        match (weights, direction) {
            (Some(StepWeights::Convolution { forward, .. }), Direction::Forward) => forward.first(),
            (Some(StepWeights::Convolution { backward, .. }), Direction::Backward) => {
                backward.first().map_or(&[], |packed| packed.first())
            }
            _ => &[],
        }
    }

    /// This step's part of what the stage reads first of `images`.
    fn part<'a>(
        &self,
        direction: Direction,
        stage: &Stage,
        index: usize,
        images: Range<usize>,
        buffers: &'a [Lines<u16>],
    ) -> &'a [u16] {
        let program = &self.frozen.program;
        let entry = match direction {
            Direction::Forward => {
                let value = program.steps[stage.first].input;
                let Place { value: source, scope, .. } = self.plan.places[value];
                self.plan.slots[value].map(|slot| (slot, source, scope))
            }
            Direction::Backward => {
                let value = program.steps[stage.end - 1].output;
                let source = Source::Cells(self.plan.places[value].gradient);
                let from =
                    self.plan.backward[stage.end - 1].iter().find_map(|action| match action {
                        Backward::Convolution { from, .. }
                        | Backward::Pointwise { from, .. }
                        | Backward::Pool { from, .. }
                        | Backward::Norm { from, .. } => Some(*from),
                        Backward::Keep { .. } | Backward::Smooth { .. } | Backward::Wide { .. } => {
                            None
                        }
                    });
                from.map(|from| (from, source, self.plan.gradient_scopes[value]))
            }
        };
        let Some((slot, source, scope)) = entry else { return &[] };
        if stage.kind == StageKind::Wide || scope == Scope::Stage {
            return &[];
        }
        let groups = images.start / source.images()..images.end.div_ceil(source.images());
        let numbers = groups.start * source.group()..groups.end * source.group();
        // The buffer that is being written was taken out.
        let all = buffers[slot].get(numbers).unwrap_or(&[]);
        let each = all.len().div_ceil(stage.end - stage.first);
        all.chunks(each.max(1)).nth(index - stage.first).unwrap_or(&[])
    }
}
