//! The moments a forward saw. A forward returns them; only the trainer absorbs them (T2).

use crate::NodeId;

/// What every batch norm of one forward saw, in graph order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moments {
    /// One entry per batch norm and statistics branch that met images.
    pub layers: Vec<LayerMoments>,
}

/// Count, mean and centred squares of one layer's input: what can be merged exactly over batches and ranks.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerMoments {
    /// The batch-norm node.
    pub node: NodeId,
    /// The statistics branch, from [`crate::BatchNorm::statistics_branch`].
    pub branch: usize,
    /// Values per channel: images times rows times columns.
    pub count: usize,
    /// Mean per channel.
    pub mean: Vec<f64>,
    /// Sum over values of `(x - mean)^2` per channel.
    pub centred_squares: Vec<f64>,
}
