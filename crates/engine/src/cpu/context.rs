//! What the steps of a pass read besides values.

use super::bf16::HalfProgram;
use super::buffers::BufferPool;
use super::lower::Program;
use super::normalisation::BatchState;
use super::segments::Kept;
use super::weights::Weights;
use kernels::Isa;
use network::Network;

/// What all chunks of a pass share.
pub(crate) struct Context<'a> {
    pub isa: Isa,
    pub network: &'a Network,
    pub program: &'a Program,
    /// Layouts and tables if the pass is in half precision.
    pub half: Option<&'a HalfProgram>,
    /// [`Program::readers`].
    pub readers: &'a [Option<(usize, usize)>],
    pub weights: &'a Weights,
    pub buffers: &'a BufferPool,
    /// The domain of every image of the pass.
    pub domains: &'a [usize],
    /// By step: the batch norms known so far.
    pub batch: &'a [Option<BatchState>],
    /// Whether a backward will follow.
    pub keep: Keep<'a>,
}

/// What a forward leaves behind.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keep<'a> {
    /// The logits alone.
    Nothing,
    /// What a backward reads.
    ForBackward(&'a Kept),
}

impl Keep<'_> {
    pub fn value(self, value: usize) -> bool {
        matches!(self, Self::ForBackward(kept) if kept.values[value])
    }

    pub fn mask(self, value: usize) -> bool {
        matches!(self, Self::ForBackward(kept) if kept.masks[value])
    }

    pub fn step(self, step: usize) -> bool {
        matches!(self, Self::ForBackward(kept) if kept.steps[step])
    }
}
