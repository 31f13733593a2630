//! Watching a frozen network step by step: the engine tells what it does when, the caller reads the clock.

use crate::{EngineError, Frozen, ImagesView, Logits};
use network::Shape;

/// Which way a step runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the logits.
    Forward,
    /// To the pixels.
    Backward,
}

/// What one fused step of a frozen network does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepDescription {
    /// Name of the node that produces the value, as in the graph.
    pub name: String,
    /// What is computed, in a few words.
    pub operation: String,
    /// Shape of one image's result.
    pub output: Shape,
    /// Multiply-accumulates of one direction for one image; 0 for all but convolutions and linear maps.
    pub macs: u64,
    /// Bytes of weights that one direction reads, as packed.
    pub weight_bytes: u64,
    /// Bytes of values that the forward of one image reads and writes.
    pub value_bytes: u64,
}

/// Is told when a step begins and ends; `step` is a position in [`Observable::steps`].
pub trait StepObserver {
    /// The step begins.
    fn before(&mut self, direction: Direction, step: usize);
    /// The step has ended.
    fn after(&mut self, direction: Direction, step: usize);
}

/// Nobody watches.
#[derive(Clone, Copy, Debug)]
pub struct Unobserved;

impl StepObserver for Unobserved {
    fn before(&mut self, _: Direction, _: usize) {}
    fn after(&mut self, _: Direction, _: usize) {}
}

/// A frozen network that can be watched.
pub trait Observable: Frozen {
    /// Its steps in the order of the forward.
    fn steps(&self) -> Vec<StepDescription>;

    /// As [`crate::Session::input_gradient`], to the bit, telling `observer` of every step of every tile.
    ///
    /// Errors: as there.
    fn observed_input_gradient(
        session: &mut Self::Session<'_>,
        images: ImagesView<'_>,
        loss: &mut dyn FnMut(&Logits, usize, &mut Logits),
        observer: &mut dyn StepObserver,
    ) -> Result<(Logits, Vec<f32>), EngineError>;
}
