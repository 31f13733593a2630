//! What one session works in: buffers for a plan, kept from session to session.

use super::super::normalisation::Coefficients;
use super::plan::Plan;
use kernels::bf16::activation::Rows;
use kernels::half::{Lines, Pool, Workspace};

/// Buffers of one thread for one plan.
#[derive(Debug)]
pub(crate) struct Workplace {
    /// Images of the plan that the buffers are for.
    pub images: usize,
    /// Values and gradients.
    pub buffers: Vec<Lines<u16>>,
    /// By value.
    pub masks: Vec<Lines<u32>>,
    /// By step that is a pool: who won.
    pub winners: Vec<Vec<u8>>,
    /// By step that is a group norm: what each image of the tile was normalised with.
    pub norms: Vec<Vec<Coefficients>>,
    /// Rows of smooth activations.
    pub rows: Rows,
    /// The gradient by the images: sixteen numbers a pixel.
    pub lanes: Lines<f32>,
    pub workspace: Workspace,
}

impl Workplace {
    /// Allocates and touches everything.
    pub fn new(plan: &Plan, pixels: usize) -> Self {
        let won = |pool: &Option<Pool>| {
            vec![0; pool.as_ref().map_or(0, |pool| plan.images * pool.winners())]
        };
        let squares = match &plan.depth {
            Some(depth) => depth.shape.height * depth.shape.width,
            None => pixels,
        };
        let mask = |words: &Option<usize>| Lines::zeros(words.unwrap_or(0));
        Self {
            images: plan.images,
            buffers: plan.buffers.iter().map(|&length| Lines::zeros(length)).collect(),
            masks: plan.masks.iter().map(mask).collect(),
            winners: plan.pools.iter().map(won).collect(),
            norms: vec![Vec::new(); plan.kinds.len()],
            rows: Rows::default(),
            lanes: Lines::zeros(plan.images * squares * kernels::LANES),
            workspace: Workspace::default(),
        }
    }
}
